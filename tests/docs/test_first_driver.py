"""Follows docs/tutorials/first-driver.md to the letter."""

import re
from pathlib import Path
from textwrap import indent

from tests.docs.conftest import Serve
from tests.docs.pages import blocks, follow, follow_at_a_terminal, follows
from tests.support import ANSWERS, SETTINGS, git

PAGE = "docs/tutorials/first-driver.md"
HEADINGS = list(dict.fromkeys(block.heading for block in blocks(PAGE, "sh")))


@follows(PAGE, *HEADINGS)
def test_from_nothing_to_a_driver(
    commands: list[str], address: dict[str, str], tmp_path: Path, serve: Serve
) -> None:
    install, render, start, run, create, list_all, *again, test = commands
    assert install == "uv tool install copier\n"  # copier is installed already
    dialogue = {SETTINGS[question]["help"][:16]: "\r" for question in asked()}
    dialogue |= {SETTINGS[name]["help"][:16]: f"{ANSWERS[name]}\r" for name in ANSWERS}
    follow_at_a_terminal(tmp_path, render, address, dialogue)
    follow(tmp_path, start, {})
    project = tmp_path / "mcm-provider-acme"
    assert git(project, "status", "--porcelain") == ""
    with serve(project, run) as there:
        follow(project, create, there)
        _, export, _ = create.splitlines()
        exported = dict(each.split("=") for each in export.split()[1:])
        expected, refused = blocks(PAGE, "text")
        assert same(follow(project, list_all, there | exported)) == same(expected.text)
    (added,) = blocks(PAGE, "python")
    insert(
        project / "acme/apis/provider_spec.py",
        after="    network: Network\n",
        text=indent(added.text, "    "),
    )
    fourth, delete, fourth_again = again
    with serve(project, run) as served:
        there = served | exported  # as in the same shell
        assert follow(project, fourth, there, exit_code=1) == refused.text
        follow(project, delete, there)
        (field,) = blocks(PAGE, "yaml")
        sample = project / "kubernetes/machine-class.yaml"
        insert(sample, after="providerSpec:\n", text=indent(field.text, "  "))
        assert "machine-4" in follow(project, fourth_again, there)
    assert "passed   C10" in follow(project, test, {})


def asked() -> list[str]:
    """Return the questions that copier asks, in order."""
    return [name for name in SETTINGS if "help" in SETTINGS[name]]


def same(table: str) -> str:
    """Return the table with the same text in place of every provider ID."""
    return re.sub("srv-[0-9a-f]+", "srv-…", table)


def insert(path: Path, *, after: str, text: str) -> None:
    before = path.read_text()
    assert before.count(after) == 1
    path.write_text(before.replace(after, f"{after}{text}"))
