"""Prints answers: as a table, in formats for scripts, and in colour on a terminal."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, TextIO

import yaml

from cmi.redaction import Redactor, Sources

_STYLES: Final = {"": "", "header": "1", "error": "31", "good": "32", "bad": "33"}
"""Colours that are legible on both light and dark backgrounds."""


_redactor: Final = Redactor()
"""Knows the secrets that this process sends, and masks them in a driver's answers."""


class Output(StrEnum):
    """The format of an answer."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def is_table(self) -> bool:
        """Whether the format is for people."""
        return self in (Output.TABLE, Output.WIDE)


class Columns:
    """Lays out rows in columns. Nothing is cut off, so that users can copy values."""

    def __init__(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [map(shown, row) for row in (header, *rows)]
        self._widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(self, row: Sequence[str]) -> str:
        """Return a row as a line."""
        cells = [shown(cell).ljust(width) for cell, width in zip(row, self._widths, strict=True)]
        return "   ".join(cells).rstrip()


def hide(secrets: Mapping[str, bytes]) -> None:
    """Mask the values of a Secret from now on."""
    _redactor.add(Sources(plain=[*secrets.values()]))


def shown(text: str) -> str:
    """Return a driver's text without secrets and without control sequences for the terminal."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in _redactor.scrub(text)
    )


def print_line(text: str, style: str = "") -> None:
    """Print a line and flush it, even if standard output is a pipe."""
    print(_styled(shown(text), style, sys.stdout), flush=True)


def print_error(message: str) -> None:
    """Print one line to standard error."""
    print(f"{_styled('error:', 'error', sys.stderr)} {shown(message)}", file=sys.stderr)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a header."""
    columns = Columns(header, rows)
    print_line(columns.line(header), "header")
    for row in rows:
        print_line(columns.line(row))


def print_rows(
    header: Sequence[str], rows: Sequence[Sequence[str]], output: Output, value: object
) -> None:
    """Print rows that begin with a name or, for scripts, a value with the same contents."""
    if output is Output.NAME:
        for row in rows:
            print_line(row[0])
    elif output.is_table:
        print_table(header, rows)
    else:
        _print_value(value, output)


def _print_value(value: object, output: Output) -> None:
    if output is Output.YAML:
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n")
    else:
        text = json.dumps(value, indent=2)
    print(_redactor.scrub(text), flush=True)  # both formats escape control sequences


def _styled(text: str, style: str, stream: TextIO) -> str:
    """Colour a text on a terminal, unless NO_COLOR (https://no-color.org) is set."""
    wanted = _STYLES[style] and stream.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if wanted else text
