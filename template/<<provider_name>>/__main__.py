"""Entrypoint of `python -m` for this package."""

from .app import main

main()
