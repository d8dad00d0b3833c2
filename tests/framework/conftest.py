"""What the framework's tests share."""

import json
import logging
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from cmi import redaction
from cmi.serving import logs
from cmi.serving.options import LogFormat, LogLevel
from tests.framework.support import Gate

LogLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mask no words that the calls of an earlier test had as secrets."""
    monkeypatch.setattr(redaction, "_LINGER", 0)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A method that waits; opened at the end whatever the test did."""
    gate = Gate()
    yield gate
    gate.opened.set()


class LogFile:
    """What a driver process would have written to standard error."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def getvalue(self) -> str:
        """Return all of it, as soon as it is written."""
        logs.flush()
        self._file.seek(0)
        return self._file.read()


@contextmanager
def logging_to_file(level: LogLevel, form: LogFormat | None) -> Iterator[LogFile]:
    """Log as a driver process does, into a file."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, threading.excepthook, sys.unraisablehook
    root.handlers.clear()  # or `configure` closes pytest's own
    with tempfile.TemporaryFile("w+") as file:
        logs.configure(level, form, file.fileno())
        try:
            yield LogFile(file)
        finally:
            logs.flush()
            logging.captureWarnings(False)
            redaction.after_log = redaction.at_once
            root.handlers[:], root_level, threading.excepthook, sys.unraisablehook = before
            root.setLevel(root_level)


@pytest.fixture
def log_stream() -> Iterator[LogFile]:
    """Log as a driver process does, everything, as JSON; into this file."""
    with logging_to_file(LogLevel.DEBUG, LogFormat.JSON) as file:
        yield file


@pytest.fixture
def log_lines(log_stream: LogFile) -> LogLines:
    """What was logged so far, one object for each line."""
    return lambda: [json.loads(line) for line in log_stream.getvalue().splitlines()]
