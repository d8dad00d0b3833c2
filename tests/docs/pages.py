"""Pages of the documentation as a reader uses them: commands to run."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pexpect

from tests.support import ROOT

COMMANDS = re.compile(
    r"^(?P<indent> *)```sh\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


def sections(page: str) -> dict[str, list[str]]:
    """Return the blocks of shell commands of a page, by the heading that they stand under."""
    blocks: dict[str, list[str]] = {}
    for part in re.split(r"^#+ ", (ROOT / page).read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        blocks[heading] = [textwrap.dedent(found["text"]) for found in COMMANDS.finditer(text)]
    return blocks


def follow(folder: Path, commands: str, surroundings: Mapping[str, str]) -> str:
    """Run commands in a folder as they stand, and return what they print.

    `copier` is the one that runs the tests; what else is in the environment is up to the caller.
    """
    result = subprocess.run(
        shell(commands),
        cwd=folder,
        env=environment(surroundings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{commands}\n{result.stdout}"
    return result.stdout


def follow_at_a_terminal(
    folder: Path, commands: str, surroundings: Mapping[str, str], dialogue: Mapping[str, str]
) -> None:
    """Run commands that ask; `dialogue` has what to type at each text that shows, in its order."""
    terminal = pexpect.spawn(
        "bash",
        shell(commands)[1:],
        cwd=str(folder),
        # Nothing answers prompt_toolkit's question for the cursor's position here.
        env=environment({**surroundings, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}),
        encoding="utf-8",
        timeout=120,
    )
    for shown, typed in dialogue.items():
        terminal.expect_exact(shown)
        terminal.send(typed)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def shell(commands: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", commands]


def environment(surroundings: Mapping[str, str]) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **surroundings}


def address_leads_to(template: Path) -> dict[str, str]:
    """Return the environment in which git finds the template of the pages in a local repository."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{template}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/ORG/mcm-provider-template.git",
    }
