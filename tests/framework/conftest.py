"""What the framework's tests share."""

import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cmi.serving import logs
from tests.framework.support import Gate

LogLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A method that waits; opened at the end whatever the test did."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def log_stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Log as a driver process does, everything, as JSON; into this stream."""
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    root.handlers.clear()  # or `configure` closes pytest's own
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        logs.configure(logs.LogLevel.DEBUG, logs.LogFormat.JSON)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def log_lines(log_stream: io.StringIO) -> LogLines:
    """What was logged so far, one object for each line."""
    return lambda: [json.loads(line) for line in log_stream.getvalue().splitlines()]
