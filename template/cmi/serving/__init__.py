"""The server of a driver: it decodes, runs, limits, logs and measures the calls."""
