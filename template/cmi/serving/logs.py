"""Structured logs on standard error: one JSON object, or one line of text, for each event.

Every text is scrubbed of the secrets of the call it was logged in (C50), whoever logged
it: the driver, its SDK, or the framework.
"""

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum

from pydantic_core import to_json

from cmi.serving import redaction

log = logging.getLogger(__name__)


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
    # What no formatter of ours shows is not looked up: https://docs.python.org/3/howto/logging.html
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Python would print these itself, unscrubbed.
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_failure
    sys.unraisablehook = _log_unraisable


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Log what ended a thread of the driver's own."""
    name = failure.thread.name if failure.thread else "unknown"
    log.error("a thread failed", exc_info=failure.exc_value, extra={"fields": {"thread": name}})


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    """Log what nobody can catch, such as the exception of a `__del__`."""
    log.error("an exception was ignored", exc_info=failure.exc_value)


def formatter(form: LogFormat) -> logging.Formatter:
    """Return the formatter that writes records in `form`, without the secrets of their call."""
    return _JsonFormatter() if form is LogFormat.JSON else _TextFormatter()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _to_json(_event(record))


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = _event(record)
        traceback = event.pop("traceback", None)
        message = str(event.pop("message"))
        if not message.isprintable():
            message = json.dumps(message)
        head = f"{event.pop('time')} {event.pop('level'):7} {message}"
        line = " ".join([head, *(f"{key}={_plain(value)}" for key, value in event.items())])
        return f"{line}\n{traceback}" if traceback else line


def _to_json(event: dict[str, object]) -> str:
    try:
        return to_json(event, fallback=str).decode()  # five times as fast as the standard library's
    except ValueError:  # half of a surrogate pair, as in a file name that is not UTF-8
        return json.dumps(event, ensure_ascii=False, default=str)


def _event(record: logging.LogRecord) -> dict[str, object]:
    scrub = redaction.scrubber()
    event: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": scrub(_message(record)),
    }
    for key, value in getattr(record, "fields", {}).items():
        event[key] = value if isinstance(value, (int, float)) else scrub(str(value))
    if record.exc_info:
        event["traceback"] = scrub(logging.Formatter().formatException(record.exc_info))
    return event


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - logging itself would print it with all arguments, unscrubbed
        return f"{record.msg} {record.args!r}"


def _plain(value: object) -> str:
    """Quote what would break a line into other words than were meant."""
    text = str(value)
    return text if text and text.isprintable() and not set(' "=') & set(text) else json.dumps(text)
