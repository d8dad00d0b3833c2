"""The server of a driver: what decodes, runs, limits, logs and measures the calls."""
