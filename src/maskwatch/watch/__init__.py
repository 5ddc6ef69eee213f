"""Many cameras from one file, on one machine or a cluster: `maskwatch watch` and `maskwatch doctor`."""
