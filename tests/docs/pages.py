"""Use pages of the documentation as a reader does: run their commands and write their code."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pytest

from tests.support import ROOT
from tests.terminal import converse

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")),
]

PARTS = re.compile(
    r"^#+ (?P<heading>[^\n]+)$|"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)

FOLLOWED: set[tuple[str, str]] = set()
"""Pages and headings whose commands a test follows."""


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Attributes:
        heading: The heading above it.
        language: The language that it is written in.
        title: The name of the file that it belongs to, or an empty text.
        text: Its contents, without indentation.
        indented: Its contents with the indentation on the page.
    """

    heading: str
    language: str
    title: str
    text: str
    indented: str


def blocks(page: str, language: str = "") -> list[Block]:
    """Return the blocks of a page, or those in one language."""
    found, heading = [], ""
    for part in PARTS.finditer((ROOT / page).read_text()):
        heading = part["heading"] or heading
        if part["heading"] is None:
            text = textwrap.dedent(part["text"])
            title = part["title"] or ""
            found.append(Block(heading, part["language"], title, text, part["text"]))
    return [block for block in found if language in ("", block.language)]


def follows(page: str, *headings: str) -> pytest.MarkDecorator:
    """Pass the blocks of commands under some headings of a page to a test, as `commands`.

    `tests/docs/test_pages.py` checks that a test follows all commands of all pages.
    """
    FOLLOWED.update((page, heading) for heading in headings)
    commands = [block.text for block in blocks(page, "sh") if block.heading in headings]
    return pytest.mark.parametrize("commands", [commands], ids=[page])


def follow(
    folder: Path, commands: str, surroundings: Mapping[str, str], *, exit_code: int = 0
) -> str:
    """Run commands in a folder exactly as written, and return what they print.

    `copier` is the one in the environment of these tests. The caller adds other variables.
    """
    with started(folder, commands, surroundings) as process:
        output, _ = process.communicate()
    assert process.returncode == exit_code, f"{commands}\n{output}"
    return output


@contextmanager
def following(
    folder: Path, commands: str, surroundings: Mapping[str, str], until: str
) -> Iterator[str]:
    """Run commands that do not end by themselves. They get a Ctrl-C when the context ends.

    Yields:
        The first line that contains `until`.
    """
    with started(folder, commands, surroundings) as process:
        output = cast("IO[str]", process.stdout)
        seen = [""]
        try:
            for line in output:
                seen.append(line)
                if until in line:
                    break
            assert until in seen[-1], "".join(seen)
            yield seen[-1]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            output.read()


def started(folder: Path, commands: str, surroundings: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a shell in its own process group."""
    return subprocess.Popen(
        shell(commands),
        cwd=folder,
        env=environment(folder, surroundings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def follow_at_a_terminal(
    folder: Path, commands: str, surroundings: Mapping[str, str], dialogue: Mapping[str, str]
) -> None:
    """Run commands that ask questions. `dialogue` has the texts to wait for, in order, and the
    answers to type."""
    converse(shell(commands), folder, environment(folder, surroundings), dialogue.items())


def shell(commands: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", commands]


def environment(folder: Path, surroundings: Mapping[str, str]) -> dict[str, str]:
    """Return a reader's environment, in which the project's own environment is activated."""
    path = f"{folder / '.venv/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **surroundings}


def address_leads_to(template: Path) -> dict[str, str]:
    """Return an environment in which the template's address leads git to a local repository."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{template}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/ORG/mcm-provider-template.git",
    }
