"""docs/reference/files.md lists every rendered file once, with its owner."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.support import ROOT, SUFFIX, TEMPLATE, files_of

PAGE = (ROOT / "docs/reference/files.md").read_text()
OWNERS = {"yours", "lock", "template", "copier"}


def rows() -> Iterator[tuple[list[str], str]]:
    """Yield the patterns and the owner of each row of the table."""
    for names, owner in re.findall(r"^\| (`[^|]*`) \| (\w+) \|", PAGE, re.MULTILINE):
        yield re.findall("`([^`]+)`", names), owner


def rendered_names() -> list[str]:
    names = (path.relative_to(TEMPLATE).as_posix() for path in files_of(TEMPLATE) if path.exists())
    return [
        name.removesuffix(SUFFIX)
        .replace("<<provider_name>>", "<provider_name>")
        .replace("<<_copier_conf.answers_file>>", ".copier-answers.yml")
        for name in names
    ]


def owners_of(name: str) -> list[str]:
    """Return the owners of a file in the rows with the most precise pattern."""
    found = [
        (len(pattern), owner)
        for patterns, owner in rows()
        for pattern in patterns
        if fnmatchcase(name, pattern)
    ]
    longest = max((length for length, _ in found), default=0)
    return [owner for length, owner in found if length == longest]


@pytest.mark.parametrize("name", rendered_names())
def test_a_file_is_on_the_page_once(name: str) -> None:
    (owner,) = owners_of(name)
    assert owner == expected_owner(name)


def test_every_row_is_about_a_file() -> None:
    names = rendered_names()
    assert {owner for _, owner in rows()} == OWNERS
    for patterns, _ in rows():
        for pattern in patterns:
            assert any(fnmatchcase(name, pattern) for name in names), pattern


def expected_owner(name: str) -> str:
    """Return the owner according to copier.yml. tests/update/ checks that updates respect it."""
    path = Path(name)
    if (
        path.parts[0] == "<provider_name>"
        or path.match("kubernetes/*.yaml")
        or name == "CHANGELOG.md"
    ):
        return "yours"
    if path.match("requirements/*.txt"):
        return "lock"
    return "copier" if name == ".copier-answers.yml" else "template"
