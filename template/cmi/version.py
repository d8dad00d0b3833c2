"""The version of the template that this framework belongs to."""

VERSION = "0.1.0.dev0"
"""The version of the whole repository: template, framework and bridge. `make release` sets it."""
