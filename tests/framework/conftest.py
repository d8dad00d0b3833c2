"""Fixtures that the framework's tests share."""

import json
import logging
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any
from unittest import mock

import pytest

from cmi import redaction
from cmi.serving import logs
from cmi.serving.options import LogFormat, LogLevel
from tests.framework.support import Gate
from tests.support import PATIENCE

LogLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop masking the secrets of earlier tests' calls."""
    monkeypatch.setattr(redaction, "_LINGER", 0)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A method that waits. It is opened after the test, even if the test fails."""
    gate = Gate()
    yield gate
    gate.opened.set()


class LogFile:
    """The output that a driver process would have written to standard error."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def getvalue(self) -> str:
        """Return the whole output, after waiting until everything has been written."""
        logs.flush()
        self._file.seek(0)
        return self._file.read()


@contextmanager
def logging_to_file(level: LogLevel, form: LogFormat | None) -> Iterator[LogFile]:
    """Log to a file in the way a driver process logs."""
    with unconfigured(), tempfile.TemporaryFile("w+") as file:
        logs.configure(level, form, file.fileno())
        try:
            yield LogFile(file)
        finally:
            logs.flush()


@contextmanager
def unconfigured() -> Iterator[None]:
    """Let a test configure the log, and take this back. Waiting for its lines may take long."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, threading.excepthook, sys.unraisablehook
    root.handlers.clear()  # otherwise, `configure` closes pytest's handlers
    try:
        with mock.patch.object(logs, "_LAST_LINES", PATIENCE):
            yield
    finally:
        logging.captureWarnings(False)
        redaction.after_log = redaction.at_once
        root.handlers[:], root_level, threading.excepthook, sys.unraisablehook = before
        root.setLevel(root_level)


@pytest.fixture
def log_stream() -> Iterator[LogFile]:
    """The file that receives the log, in JSON and at every level, as from a driver process."""
    with logging_to_file(LogLevel.DEBUG, LogFormat.JSON) as file:
        yield file


@pytest.fixture
def log_lines(log_stream: LogFile) -> LogLines:
    """A function that returns what was logged so far, as one object for each line."""
    return lambda: [json.loads(line) for line in log_stream.getvalue().splitlines()]
