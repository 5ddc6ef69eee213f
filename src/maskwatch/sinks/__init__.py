"""Where results go; each sink is a context manager with `write(result)`."""
