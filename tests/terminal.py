"""Programs at a terminal, as a person uses them."""

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
    """Run a program at a terminal of 80 columns until it ends well, and return what it shows last.

    `pexpect.spawn` would fork this process, see `tests/forks.py`. Here `subprocess` starts the
    program, and `setsid` makes the terminal the one that controls it.

    Args:
        command: What to run.
        folder: Where to run it.
        environment: All of its environment, but for what describes the terminal.
        dialogue: A text to wait for, and the keys to press then; again and again.
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
    """Run a program at a terminal of 80 columns; yield both; leave nothing running."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs):
        termios.tcsetwinsize(theirs, (24, 80))
        process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=folder,
            # Nothing answers prompt_toolkit's question for the cursor's position here.
            env={**environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    terminal: fdspawn[str] = fdspawn(ours, encoding="utf-8", timeout=PATIENCE, use_poll=True)
    try:
        yield terminal, process
    finally:
        terminal.close()  # which ends whatever is left of the session
        process.kill()
        process.wait()
