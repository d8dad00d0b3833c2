"""Run programs in a terminal, as a person does."""

import os
import subprocess
import termios
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pexpect
from pexpect.fdpexpect import fdspawn

from tests.support import PATIENCE


def converse(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    dialogue: Iterable[tuple[str, str]] = (),
) -> str:
    """Run a program in a terminal with 80 columns; return its output after the dialogue.

    The program must succeed. `pexpect.spawn` would fork this process, which `tests/forks.py`
    forbids. So `subprocess` starts the program, and `setsid` sets its controlling terminal.

    Args:
        command: The command to run.
        folder: The working directory of the command.
        environment: All of its environment, except for variables that describe the terminal.
        dialogue: Pairs of a text to wait for and the keys to press when it appears.
    """
    with at_terminal(command, folder, environment) as (terminal, process):
        for shown, keys in dialogue:
            terminal.expect_exact(shown)
            terminal.send(keys)
        terminal.expect(pexpect.EOF)
        last = terminal.before or ""
        assert process.wait(PATIENCE) == 0, last
        return last


@contextmanager
def at_terminal(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> "Iterator[tuple[fdspawn[str], subprocess.Popen[bytes]]]":
    """Run a program in a terminal with 80 columns; yield both, and end both afterwards."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs):
        termios.tcsetwinsize(theirs, (24, 80))
        process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=folder,
            # This terminal does not answer when prompt_toolkit asks for the cursor's position.
            env={**environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    terminal: fdspawn[str] = fdspawn(ours, encoding="utf-8", timeout=PATIENCE, use_poll=True)
    try:
        yield terminal, process
    finally:
        terminal.close()  # this ends all other processes of the session
        process.kill()
        process.wait()
