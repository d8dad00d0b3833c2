"""Entrypoint of `python -m cmi`."""

from cmi.cli import app

app(prog_name="python -m cmi")
