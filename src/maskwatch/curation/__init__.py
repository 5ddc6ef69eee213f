"""Make data sets, look through them, convert and divide them."""
