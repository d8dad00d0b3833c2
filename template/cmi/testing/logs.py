"""Captures the log of a driver that is served in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from cmi.serving.logs import formatter
from cmi.serving.options import LogFormat, LogLevel


@contextmanager
def captured_log() -> Iterator[list[str]]:
    """Collect the lines that the driver would write to its log at debug level, as JSON.

    Yields:
        The lines so far; it grows while the context is open.
    """
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    collector = Collector()
    collector.setFormatter(formatter(LogFormat.JSON))
    root = logging.getLogger()
    before = root.level
    root.addHandler(collector)
    root.setLevel(LogLevel.DEBUG.upper())
    try:
        yield lines
    finally:
        root.removeHandler(collector)
        root.setLevel(before)
