"""Structured logs on standard error: one JSON object, or one line of text, for each event.

Every text is scrubbed of the secrets of the call it was logged in (C50), whoever logged
it: the driver, its SDK, or the framework.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum

from cmi import redact


class LogFormat(StrEnum):
    """How a log record is written."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least severe records that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure(level: LogLevel, form: LogFormat | None) -> None:
    """Send all log records to standard error.

    Args:
        level: The least severe records to write.
        form: None means text on a terminal, JSON elsewhere.
    """
    handler = logging.StreamHandler(sys.stderr)
    if form is None:
        form = LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc").setLevel(logging.WARNING)  # its debug records are about its loop
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def formatter(form: LogFormat) -> logging.Formatter:
    """Return the formatter that writes records in `form`, without the secrets of their call."""
    return _JsonFormatter() if form is LogFormat.JSON else _TextFormatter()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_event(record), ensure_ascii=False, default=str)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = _event(record)
        traceback = event.pop("traceback", None)
        head = f"{event.pop('time')} {event.pop('level'):7} {event.pop('message')}"
        line = " ".join([head, *(f"{key}={_plain(value)}" for key, value in event.items())])
        return f"{line}\n{traceback}" if traceback else line


def _event(record: logging.LogRecord) -> dict[str, object]:
    event: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _scrub(record.getMessage()),
    }
    for key, value in getattr(record, "fields", {}).items():
        event[key] = value if isinstance(value, int | float) else _scrub(str(value))
    if record.exc_info:
        event["traceback"] = _scrub(logging.Formatter().formatException(record.exc_info))
    return event


def _scrub(text: str) -> str:
    redactor = redact.current.get()
    return text if redactor is None else redactor.scrub(text)


def _plain(value: object) -> str:
    """Quote what would break a line into other words than were meant."""
    text = str(value)
    return text if text and text.isprintable() and not set(' "=') & set(text) else json.dumps(text)
