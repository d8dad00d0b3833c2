"""Log records as a driver process writes them: one line each, as JSON or as text."""

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from cmi import redaction
from cmi.serving import logs
from cmi.serving.options import LogFormat, LogLevel
from tests.framework.conftest import LogFile, logging_to_file, unconfigured

log = logging.getLogger("acme")


Start = Callable[[LogLevel, LogFormat | None], LogFile]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that configures logging, and returns the file that replaces standard error."""
    with ExitStack() as stack:
        yield lambda level, form: stack.enter_context(logging_to_file(level, form))


def test_a_record_is_one_json_object(start: Start) -> None:
    stream = start(LogLevel.INFO, LogFormat.JSON)
    log.info("größe\n%s", "zwei", extra={"fields": {"machine": "m\n1", "size": 7, "ok": True}})
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("+00:00")
    assert event == {
        "level": "info",
        "logger": "acme",
        "message": "größe\nzwei",
        "machine": "m\n1",
        "size": 7,
        "ok": True,
    }


def test_a_record_is_one_line_of_text(start: Start) -> None:
    stream = start(LogLevel.INFO, LogFormat.TEXT)
    log.warning("careful", extra={"fields": {"machine": "m1", "detail": "a b", "empty": ""}})
    time, _, rest = stream.getvalue().partition(" ")
    assert time.endswith("+00:00")
    assert rest == 'warning careful logger=acme machine=m1 detail="a b" empty=""\n'


@pytest.mark.parametrize("text", ["a\nERROR forged", "a\rb", "a\x1b[2Jb", "a\u2028b", "a\x00b"])
def test_no_text_can_forge_a_line(start: Start, text: str) -> None:
    stream = start(LogLevel.INFO, LogFormat.TEXT)
    log.info("saw %s", text, extra={"fields": {"machine": text}})
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().rstrip("\n").isprintable()


@pytest.mark.parametrize("form", LogFormat)
def test_an_error_is_logged_with_its_traceback(start: Start, form: LogFormat) -> None:
    stream = start(LogLevel.INFO, form)
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("failed")
    assert "Traceback" in stream.getvalue()
    assert "ValueError: odd" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1 or form is LogFormat.TEXT


@pytest.mark.parametrize("form", LogFormat)
def test_a_malformed_log_call_is_logged_as_it_is(start: Start, form: LogFormat) -> None:
    stream = start(LogLevel.INFO, form)
    log.info("two %s %s", "one")  # noqa: PLE1206 - on purpose
    assert "two %s %s ('one')" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("form", LogFormat)
def test_a_thread_that_fails_is_logged(start: Start, form: LogFormat) -> None:
    stream = start(LogLevel.INFO, form)

    def fail() -> None:
        raise ValueError("odd")

    thread = threading.Thread(target=fail, name="refresher")
    thread.start()
    thread.join()
    assert "a thread failed" in stream.getvalue()
    assert "refresher" in stream.getvalue()
    assert "ValueError: odd" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_records_below_the_level_are_left_out(
    start: Start, level: LogLevel, expected: list[str]
) -> None:
    stream = start(level, None)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("x")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == expected


def test_without_a_terminal_the_form_is_json(start: Start) -> None:
    stream = start(LogLevel.INFO, None)
    log.info("x")
    assert json.loads(stream.getvalue())["message"] == "x"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Log to a terminal; return what it shows."""
    ours, theirs = os.openpty()

    def shown() -> str:
        logs.configure(LogLevel.INFO, None, theirs)
        log.warning("x")
        fields = {"rpc": "CreateMachine", "code": "OK", "duration_ms": 340.159}
        log.info("call", extra={"fields": {**fields, "machine": "a b", "provider_id": "id"}})
        logs.flush()
        text = ""
        while text.count("\n") < 2:  # a terminal may deliver them one by one
            text += os.read(ours, 1000).decode()
        return text

    with unconfigured():
        yield shown
    os.close(ours)
    os.close(theirs)


def test_on_a_terminal_the_form_is_text(
    terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    first, second = terminal().splitlines()
    assert re.fullmatch(r"\d+-\d+-\d+T\d\d:\d\d:\d\d\.\d+\+00:00 warning x logger=acme", first)
    assert "call logger=acme rpc=CreateMachine code=OK duration_ms=340.159" in second


def test_in_colour_a_line_is_short_and_warnings_stand_out(
    terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    first, second = terminal().replace("\x1b", "^").splitlines()
    assert re.fullmatch(r"\^\[2m\d\d:\d\d:\d\d\^\[0m \^\[33mwarning\^\[0m x logger=acme", first)
    assert second.endswith(' CreateMachine "a b" OK 340 ms logger=acme provider_id=id')


def test_a_record_needs_no_lock_of_the_base_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """The `handle` of the base class enters a lock, which must exist from Python 3.13 on."""
    handled: list[logging.LogRecord] = []

    class Locked:
        def acquire(self, *_: object) -> None:
            raise AssertionError("the lock is used")

        release = __enter__ = __exit__ = acquire

    handler = logs.Handler(os.open(os.devnull, os.O_WRONLY), LogFormat.JSON)
    monkeypatch.setattr(handler, "emit", handled.append)
    monkeypatch.setattr(handler, "lock", Locked())
    record = log.makeRecord("acme", logging.INFO, __file__, 1, "text", (), None)
    assert handler.handle(record)
    assert handled == [record]
    monkeypatch.setattr(handler, "filter", lambda _: False)
    assert not handler.handle(record)
    assert handled == [record]


def test_a_secret_is_forgotten_once_what_was_logged_is_searched(start: Start) -> None:
    stream = start(LogLevel.INFO, LogFormat.JSON)
    sources = redaction.Sources(plain=[b"correct-horse"])
    redaction.in_flight.add(sources)
    log.info("correct-horse")
    redaction.after_log(lambda: redaction.in_flight.forget(sources))
    assert "correct-horse" not in stream.getvalue()


def test_nothing_waits_for_a_log_without_events(start: Start) -> None:
    start(LogLevel.INFO, LogFormat.JSON)
    threads: list[threading.Thread] = []
    redaction.after_log(lambda: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]
