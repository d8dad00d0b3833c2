"""How answers are printed: as a table, for scripts, and with colour on a terminal."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, TextIO

import yaml

from cmi.redaction import Redactor, Sources

_STYLES: Final = {"": "", "header": "1", "error": "31", "good": "32", "bad": "33"}
"""Of the colours that are legible on a light and on a dark background."""


_redactor: Final = Redactor()
"""Knows the secrets that this process sends: what a driver tells of them is not shown."""


class Output(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def is_table(self) -> bool:
        """Whether it is for people."""
        return self in (Output.TABLE, Output.WIDE)


class Columns:
    """Lays rows out in columns. Nothing is cut, so that it can be copied."""

    def __init__(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [map(shown, row) for row in (header, *rows)]
        self._widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(self, row: Sequence[str]) -> str:
        """Return a row as a line."""
        cells = [shown(cell).ljust(width) for cell, width in zip(row, self._widths, strict=True)]
        return "   ".join(cells).rstrip()


def hide(secrets: Mapping[str, bytes]) -> None:
    """Show the values of a Secret nowhere from now on."""
    _redactor.add(Sources(plain=[*secrets.values()]))


def shown(text: str) -> str:
    """Return a text of a driver without secrets, and without what a terminal would obey."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in _redactor.scrub(text)
    )


def print_line(text: str, style: str = "") -> None:
    """Print a line at once, also where standard output is a pipe."""
    print(_styled(shown(text), style, sys.stdout), flush=True)


def print_error(message: str) -> None:
    """Print one line on standard error."""
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
    """Print rows that begin with a name; or, for scripts, the value that holds the same."""
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
    print(_redactor.scrub(text), flush=True)  # both escape what a terminal would obey


def _styled(text: str, style: str, stream: TextIO) -> str:
    """Colour a text on a terminal, unless NO_COLOR (https://no-color.org) is set."""
    wanted = _STYLES[style] and stream.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if wanted else text
