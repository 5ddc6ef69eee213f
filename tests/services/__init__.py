"""Real servers for the tests: a broker, a database and a camera, on loopback, that can be hurt."""
