"""Structured logs on standard error: one JSON object, or one line of text, for each event.

The secrets of all calls in flight are removed from every text (C50), whether the driver, its SDK
or the framework logged it.

Nothing waits for the log. A logging call puts the event into a queue, one thread scrubs and
formats it, and another one writes it. If nobody reads the output, lines are dropped and counted.
"""

import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Final, TextIO, TypeAlias

from pydantic_core import to_json

from cmi import redaction
from cmi.serving.options import LogFormat, LogLevel

log = logging.getLogger(__name__)

_MAX_QUEUED: Final = 2_000
_MAX_QUEUED_BYTES: Final = 8 * 1024 * 1024
"""The maximum number and size of events that wait to be formatted; more are dropped."""
_MAX_UNWRITTEN: Final = 1024 * 1024
"""The maximum number of bytes that wait to be written; more are dropped."""
_BATCH: Final = 200
"""The maximum number of events that are written together."""
_MAX_TEXT: Final = 16 * 1024
"""The maximum number of characters of a message or a field; longer ones are cut."""
_PAUSE: Final = 0.005
"""Seconds for which events are collected, since one write for many is cheaper."""
_LAST_LINES: Final = 1.0
"""Seconds for which the process waits at its end until its last lines are written."""
_CORE_LINE: Final = re.compile(r"(?P<level>[IWEF])\d{4} [\d:.]+ +\d+ (?P<text>.*)")
"""A line of gRPC's C core: a letter for the level and the date, the time, the thread."""

_STYLES: Final = {"error": "\x1b[31m", "critical": "\x1b[31m", "warning": "\x1b[33m"}
"""The colours of levels, legible on both light and dark backgrounds."""

_NAMES: Final = ("logger", "message", "traceback")
"""The names of fields that the framework sets."""

_Event: TypeAlias = dict[str, object]
_Item: TypeAlias = _Event | Callable[[], None] | threading.Event
"""An event; or an action to call once all earlier events are scrubbed; or a `threading.Event` to
set once they are written."""


def configure(level: LogLevel, form: LogFormat | None, descriptor: int = 2) -> None:
    """Send all log records to standard error.

    Args:
        level: The least severe records to write.
        form: None means text on a terminal, JSON elsewhere.
        descriptor: The file descriptor to write to.
    """
    if form is None:
        form = LogFormat.TEXT if os.isatty(descriptor) else LogFormat.JSON
    handler = Handler(os.dup(descriptor), form)
    handler.start()
    redaction.after_log = handler.after_log
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc").setLevel(logging.WARNING)  # its debug records show its event loop
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Skip what our formatters don't show: https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Python would print these itself, unscrubbed.
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_failure
    sys.unraisablehook = _log_unraisable


def dropped() -> int:
    """Return how many lines were dropped so far because nobody read them in time."""
    return sum(each.dropped for each in logging.getLogger().handlers if isinstance(each, Handler))


def flush() -> None:
    """Wait until everything is written, for at most a second."""
    for handler in logging.getLogger().handlers:
        handler.flush()


@contextmanager
def captured_output() -> Iterator[None]:
    """Log what gRPC's C core, child processes and calls of `print` write meanwhile.

    Their lines get the format of the log, without secrets. Writing a line does not wait for a
    reader.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # no line is lost when the process ends
    with _captured(1, "stdout"), _captured(2, "stderr"):
        yield


@contextmanager
def _captured(descriptor: int, name: str) -> Iterator[None]:
    source, sink = os.pipe()
    original = os.dup(descriptor)
    os.dup2(sink, descriptor)
    os.close(sink)
    threading.Thread(target=_log_lines_of, args=(source, name), name=name, daemon=True).start()
    try:
        yield
    finally:
        os.dup2(original, descriptor)
        os.close(original)


def formatter(form: LogFormat) -> logging.Formatter:
    """Return a formatter that writes records in `form`, scrubbed at once; for tests."""
    return _Formatter(form)


class _Formatter(logging.Formatter):
    def __init__(self, form: LogFormat) -> None:
        super().__init__()
        self._line_of = _LINES[form]

    def format(self, record: logging.LogRecord) -> str:
        return self._line_of(_scrubbed(_event(record)))


class Handler(logging.Handler):
    """Writes records to a file descriptor, in background threads."""

    def __init__(self, descriptor: int, form: LogFormat) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._line_of = _LINES[form]
        if form is LogFormat.TEXT and os.isatty(descriptor) and not os.environ.get("NO_COLOR"):
            self._line_of = _coloured_line
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        # Finalisers may use these types too.
        self._events: SimpleQueue[_Item] = SimpleQueue()
        self._sizes: deque[int] = deque()  # of the events, in memory
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._unqueued = self._unformatted = self._unwritten = 0
        self._formatted = self._written = 0  # bytes
        self._pid = 0

    def createLock(self) -> None:  # noqa: N802 - the base class's name
        """Do without a lock: the queue has its own."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Like the base class, but without the lock, which that needs since Python 3.13."""
        if wanted := bool(self.filter(record)):
            self.emit(record)
        return wanted

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return self._unqueued + self._unformatted + self._unwritten

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; never wait, never raise."""
        if self._is_full() or not self.start():
            self._unqueued += 1
            return
        try:
            event = _event(record)
        except Exception as error:  # noqa: BLE001 - logging never makes its caller fail
            event = _notice("an event could not be logged", error=type(error).__name__)
        self._sizes.append(sum(map(sys.getsizeof, event.values())))
        self._events.put(event)
        if record.levelno >= logging.CRITICAL and not _is_on_event_loop():
            self.flush()  # the process may end right afterwards

    def _is_full(self) -> bool:
        return len(self._sizes) >= _MAX_QUEUED or sum([*self._sizes]) >= _MAX_QUEUED_BYTES

    def after_log(self, action: Callable[[], None]) -> None:
        """Call `action` once everything that was logged so far has been scrubbed."""
        if self._pid == os.getpid():
            self._events.put(action)
        else:
            action()

    def flush(self) -> None:
        """Wait until everything is written, for at most a second."""
        if self._pid == os.getpid():
            written = threading.Event()
            self._events.put(written)
            written.wait(_LAST_LINES)

    def start(self) -> bool:
        """Start the threads, also in a child process; return False if that is impossible."""
        if self._pid == (pid := os.getpid()):
            return True
        try:
            for name, target in (("log-writer", self._write), ("log", self._format)):
                threading.Thread(target=target, name=name, daemon=True).start()
        except RuntimeError:
            return False
        self._pid = pid
        return True

    def _format(self) -> None:
        """Scrub and format events, for ever. Never waits for a reader."""
        while True:
            self._format_some(self._events.get())

    def _format_some(self, first: _Item) -> None:
        # A separate function, so that no reference to a call is held while waiting for an event.
        time.sleep(_PAUSE)
        lines: list[str] = []
        for item in [first, *islice(iter(self._next, None), _BATCH)]:
            if isinstance(item, dict):
                lines.append(self._safe_line_of(item))
                self._sizes.popleft()
            elif isinstance(item, threading.Event):
                self._put(lines)
                self._lines.put(item)
                lines = []
            elif callable(item):
                item()
        self._put(lines)

    def _next(self) -> _Item | None:
        try:
            return self._events.get_nowait()
        except Empty:
            return None

    def _safe_line_of(self, event: _Event) -> str:
        try:
            return self._line_of(_scrubbed(event))
        except Exception as error:  # noqa: BLE001 - the log continues after any error
            notice = _notice("an event could not be logged", error=type(error).__name__)
            return self._line_of(_scrubbed(notice))

    def _put(self, lines: list[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        if self._formatted - self._written > _MAX_UNWRITTEN:
            self._unformatted += len(lines)
        elif text:
            self._formatted += len(text)
            self._lines.put(text)

    def _write(self) -> None:
        """Write formatted lines, for ever. Waits for readers."""
        reported = 0
        while True:
            item = self._lines.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            reported = self._write_lines(item, reported)
            self._written += len(item)

    def _write_lines(self, text: str, reported: int) -> int:
        try:
            _write_all(self._descriptor, text)
            if (lost := self.dropped) != reported:
                notice = _notice(
                    "log lines were dropped because nobody read them in time", dropped=lost
                )
                _write_all(self._descriptor, self._line_of(_scrubbed(notice)) + "\n")
            return lost
        except OSError:  # there is no reader
            self._unwritten += text.count("\n")
            return reported


def _write_all(descriptor: int, text: str) -> None:
    rest = memoryview(text.encode(errors="backslashreplace"))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _is_on_event_loop() -> bool:
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Log the exception that ended one of the driver's own threads."""
    name = failure.thread.name if failure.thread else "unknown"
    log.error("a thread failed", exc_info=failure.exc_value, extra={"fields": {"thread": name}})


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    """Log an exception that nobody can catch, such as one in a `__del__`."""
    log.error("an exception was ignored", exc_info=failure.exc_value)


def _log_lines_of(descriptor: int, name: str) -> None:
    with os.fdopen(descriptor, errors="backslashreplace") as file:
        for line in _beginnings_of_lines(file):
            core = _CORE_LINE.match(line)
            if core is not None:
                level = logging.INFO if core["level"] == "I" else logging.WARNING
                logging.getLogger("grpc.core").log(level, "%s", core["text"])
            elif line.strip():
                logging.getLogger(name).warning("%s", line.rstrip("\n"))


def _beginnings_of_lines(file: TextIO) -> Iterator[str]:
    """Yield lines; of a line that is too long, only the beginning.

    The next piece of such a line could show the end of a secret that begins in this one.
    """
    is_new = True
    while piece := file.readline(_MAX_TEXT + 1):
        if is_new:
            yield piece
        is_new = piece.endswith("\n")


def _event(record: logging.LogRecord) -> _Event:
    """Return the contents of a record. Objects are formatted now, since they may change."""
    event: _Event = {
        "time": record.created,
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _cut(_message(record)),
    }
    for key, value in getattr(record, "fields", {}).items():
        event[str(key)] = value if isinstance(value, (int, float)) else _cut(_printed(value))
    if record.exc_info:
        event["traceback"] = _traceback(record)
    return event


def _notice(message: str, **fields: object) -> _Event:
    head = {"level": "warning", "logger": __name__, "message": message}
    return {"time": time.time(), **head, **fields}


def _readable(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - logging itself would print it with all arguments, unscrubbed
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        return f"{_printed(record.msg)} ({', '.join(_printed(each, repr) for each in arguments)})"


def _printed(value: object, how: Callable[[object], str] = str) -> str:
    try:
        return how(value)
    except Exception as error:  # noqa: BLE001 - the SDK's
        return f"<{type(value).__name__} that can't be printed: {type(error).__name__}>"


def _traceback(record: logging.LogRecord) -> str:
    try:
        return _cut_in_the_middle(logging.Formatter().formatException(record.exc_info))  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - the SDK's
        return f"a traceback that can't be printed: {type(error).__name__}"


def _cut_in_the_middle(text: str) -> str:
    """Keep the beginning, and the end, which contains the error."""
    half = _MAX_TEXT // 2
    return text if len(text) <= _MAX_TEXT else f"{text[:half]}\n…\n{text[-half:]}"


def _scrubbed(event: _Event) -> _Event:
    # Time and level come from us; everything else, even the names of fields, may come from an SDK.
    head = {"time": _readable(event.pop("time")), "level": event.pop("level")}  # type: ignore[arg-type]
    texts = [text for item in event.items() for text in item if isinstance(text, str)]
    scrubbed = redaction.in_flight.scrub_all(texts)
    if scrubbed is not texts:
        masked = dict(zip(texts, scrubbed, strict=True)) | {name: name for name in _NAMES}
        event = {masked[key]: masked.get(value, value) for key, value in event.items()}  # type: ignore[call-overload]
    return {**head, **event}


def _json_line(event: _Event) -> str:
    try:
        return to_json(event).decode()  # five times as fast as the standard library's
    except ValueError:  # half of a surrogate pair, as in a file name that is not UTF-8
        return json.dumps(event)


def _text_line(event: _Event) -> str:
    traceback = event.pop("traceback", None)
    message = str(event.pop("message"))
    if not message.isprintable():
        message = json.dumps(message)
    head = f"{event.pop('time')} {event.pop('level'):7} {message}"
    line = " ".join([head, *(f"{_plain(key)}={_plain(value)}" for key, value in event.items())])
    return f"{line}\n{traceback}" if traceback else line


def _coloured_line(event: _Event) -> str:
    """Return a short text line for a terminal, with highlights in colour.

    It leaves out the names of the framework's own loggers, which are of no use to a person.
    """
    if str(event["logger"]).startswith("cmi."):
        del event["logger"]
    if event["message"] == "call":
        words = (event.pop(key, "") for key in ("rpc", "machine", "code"))
        event["message"] = " ".join([*filter(None, map(_bare, words)), _duration(event)])
    style = _STYLES.get(str(event["level"]), "")
    event["time"] = str(event["time"])[11:19]
    time_of_day, level, rest = _text_line(event).split(" ", 2)
    return f"\x1b[2m{time_of_day}\x1b[0m {style}{level:7}\x1b[0m {rest.lstrip()}"


def _bare(value: object) -> str:
    return _plain(value) if value else ""


def _duration(event: _Event) -> str:
    milliseconds = event.pop("duration_ms", 0)
    return f"{milliseconds:.0f} ms" if isinstance(milliseconds, int | float) else ""


def _plain(value: object) -> str:
    """Quote a value that would otherwise be split into several words."""
    text = str(value)
    return text if text and text.isprintable() and not set(' "=') & set(text) else json.dumps(text)


_LINES: Final = {LogFormat.JSON: _json_line, LogFormat.TEXT: _text_line}
