"""A driver works whether or not anyone reads its log, its metrics or its health."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cmi.client import Client
from cmi.endpoint import Endpoint
from cmi.serving import logs
from cmi.serving.options import LogFormat
from tests.framework import http2
from tests.framework.process import START, environment
from tests.framework.support import machine_class
from tests.support import PATIENCE, await_condition, free_port, health_stub

TELLING = """
import os
from cmi import driver_app
from tests.framework.support import StandIn, created

def create(request):
    os.write(2, b"E0000 00:00:1790000000.123456    1234 ssl.cc:1] Handshake failed\\n")
    os.write(2, b"of a child\\n")
    print("of", request.secrets.api_token.get_secret_value())
    return created(request)

def make_driver():
    return StandIn(create)

make_driver.__module__ = "tests"
driver_app(make_driver)()
"""

MANY_CALLS = 3000
"""Enough calls for their log lines to fill any pipe, and the driver's own buffer as well."""


@contextmanager
def started(
    folder: Path, *options: str, stderr: int | IO[bytes] = subprocess.PIPE, start: str = START
) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", start, "--log-format=json", *options]
    with subprocess.Popen(command, env=environment(folder), stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()


def serving_line(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stderr is not None
    line: dict[str, Any] = json.loads(process.stderr.readline())
    assert line["message"] == "serving"
    return line


def record(**attributes: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": 20, "levelname": "INFO", "name": "x"} | attributes)


def is_healthy(target: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        check = health_stub(channel).Check
        answer = check(health_pb2.HealthCheckRequest(), timeout=PATIENCE, wait_for_ready=True)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_nobody_reads_the_log(tmp_path: Path) -> None:
    """Calls, health and the stop still work. Lines are dropped, and a later line says so."""
    options = ("--health-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0")
    with started(tmp_path, *options) as process:
        line = serving_line(process)
        with Client(Endpoint.parse(line["endpoint"]), timeout=PATIENCE) as client:
            for number in range(MANY_CALLS):
                client.create(machine_class(), f"m{number}-{'x' * 100}")
            assert is_healthy(line["health"])
            reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
            lines: list[bytes] = []
            until_dropped(line["metrics"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
            reader.start()
            reader.join(PATIENCE)
    assert b'"call"' in lines[0]


def until_dropped(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            text = answer.read().decode()
        (line,) = [each for each in text.splitlines() if each.startswith("driver_log_lines_dr")]
        if float(line.split()[-1]) > 0:
            return
        assert time.monotonic() < end


def test_a_reader_that_is_back_hears_how_much_it_missed() -> None:
    source, sink = os.pipe()  # `sink` stays open, since the handler's threads may still write to it
    handler = logs.Handler(sink, LogFormat.JSON)

    def has_dropped() -> bool:
        for _ in range(500):
            handler.handle(record(msg="x" * 1000))
        return handler.dropped > 0

    await_condition(has_dropped)
    with os.fdopen(source) as reader:
        events = map(json.loads, reader)
        event = next(event for event in events if "dropped" in event)
    assert event["message"] == "log lines were dropped because nobody read them in time"
    assert event["dropped"] > 0


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full"])
def test_standard_error_is_closed_or_full(tmp_path: Path, closing: str) -> None:
    port = free_port()
    command = f'exec "$0" -c "$1" --endpoint=tcp://127.0.0.1:{port} {closing}'
    with subprocess.Popen(
        ["sh", "-c", command, sys.executable, START], env=environment(tmp_path)
    ) as process:
        try:
            assert is_healthy(f"127.0.0.1:{port}")
            with Client(Endpoint.parse(f"tcp://127.0.0.1:{port}"), timeout=PATIENCE) as client:
                for number in range(50):
                    client.create(machine_class(), f"m{number}")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_the_log_of_the_c_core_has_the_form_of_ours(tmp_path: Path) -> None:
    """The C core and child processes write to file descriptor 2 directly. Other code prints."""
    with started(tmp_path, start=TELLING) as process:
        with Client(Endpoint.parse(serving_line(process)["endpoint"]), timeout=PATIENCE) as client:
            client.create(machine_class(), "m1")
        assert process.stderr is not None
        lines = [json.loads(process.stderr.readline()) for _ in range(4)]
        events = [each for each in lines if each["message"] != "call"]
    assert sorted((each["logger"], each["level"], each["message"]) for each in events) == [
        ("grpc.core", "warning", "ssl.cc:1] Handshake failed"),
        ("stderr", "warning", "of a child"),
        ("stdout", "warning", "of ***"),
    ]


CHATTY = """
import os
from cmi import driver_app
from cmi.serving import logs
from tests.framework.support import StandIn, created

def create(request):
    secret = request.secrets.api_token.get_secret_value().encode()
    for filler in range(logs._MAX_TEXT - len(secret) - 2, logs._MAX_TEXT + 2):
        os.write(2, b"y" * filler + secret + b"z\\n")
    for _ in range(100):
        os.write(2, b"x" * 2**20)
    os.write(2, b"\\nend\\n")
    return created(request)

def make_driver():
    return StandIn(create)

make_driver.__module__ = "tests"
driver_app(make_driver)()
"""


def test_a_line_on_standard_error_that_does_not_end_is_not_kept(tmp_path: Path) -> None:
    """A child process may write 100 MiB without a line end. Cutting the line must not reveal a
    secret."""
    with started(tmp_path, start=CHATTY) as process:
        line, before = serving_line(process), peak_kib(process.pid)
        assert process.stderr is not None
        reader = process.stderr
        messages: list[str] = []
        collect = threading.Thread(
            target=lambda: messages.extend(json.loads(each)["message"] for each in reader)
        )
        collect.start()
        with Client(Endpoint.parse(line["endpoint"]), timeout=PATIENCE) as client:
            client.create(machine_class({"apiToken": b"correct-horse-battery"}), "m1")
            await_condition(lambda: "end" in messages)
        grown = peak_kib(process.pid) - before
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        collect.join(PATIENCE)
    print(f"figure: 100 MiB on standard error without a line end: {grown} KiB more")
    assert grown < 50 * 1024
    assert any(each.startswith("x" * 10_000) for each in messages)
    assert not any("battery" in each for each in messages)


def peak_kib(pid: int) -> int:
    """Return the peak memory of a process, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_large_events_wait_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK may log whole responses faster than they can be searched for secrets."""
    searching = threading.Event()
    monkeypatch.setattr(logs, "_scrubbed", lambda event: searching.wait(PATIENCE) and event)
    text = "\N{GRINNING FACE}" * 10_000  # each character takes four bytes
    with Path(os.devnull).open("wb") as sink:
        handler = logs.Handler(os.dup(sink.fileno()), LogFormat.JSON)
        for _ in range(1000):
            handler.handle(record(msg=text))
        held = (1000 - handler.dropped) * sys.getsizeof(text)
        searching.set()
        handler.flush()
    assert held < 10 * 1024 * 1024


def test_a_burst_of_large_events_is_not_dropped_while_somebody_reads() -> None:
    source, sink = os.pipe()
    handler = logs.Handler(sink, LogFormat.JSON)
    with pytest.MonkeyPatch.context() as patch:
        # All lines are there before the handler begins to write.
        patch.setattr(handler, "start", lambda: True)
        for _ in range(150):  # 2 MiB
            handler.handle(record(msg="x" * 15_000))
    handler.start()
    os.set_blocking(source, False)
    parts: list[bytes] = []

    def is_read() -> bool:
        with suppress(BlockingIOError):
            parts.append(os.read(source, 65536))
        return b"".join(parts).count(b"\n") == 150 or handler.dropped > 0

    await_condition(is_read)
    assert not handler.dropped
    os.close(source)


def test_scrapers_that_read_nothing(tmp_path: Path) -> None:
    with started(tmp_path, "--metrics-address=127.0.0.1:0") as process, ExitStack() as sockets:
        line = serving_line(process)
        port = int(line["metrics"].split(":")[2].split("/")[0])
        for _ in range(100):
            idle = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
            idle.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        until_threads(process.pid, below=60)
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as scraper:
            scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert scraper.recv(100).startswith(b"HTTP/1.0 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def until_threads(pid: int, below: int) -> None:
    end = time.monotonic() + PATIENCE
    while len(os.listdir(f"/proc/{pid}/task")) >= below:  # noqa: PTH208 - no need of paths
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_health_watcher_that_reads_nothing_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    """With a window of zero bytes, the server can send it headers, but no message."""
    with started(tmp_path, "--grace-period=1") as process:
        endpoint = Endpoint.parse(serving_line(process)["endpoint"])
        with http2.connection(endpoint, window=0) as watcher:
            watcher.sendall(http2.call(1, "/grpc.health.v1.Health/Watch"))
            watcher.sendall(http2.message(1))
            headers = bytes([http2.HEADERS, http2.END_HEADERS]) + (1).to_bytes(4, "big")
            http2.received_until(watcher, headers)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


def test_a_log_argument_that_can_not_be_printed() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("canary")

        __str__ = __repr__

    records: list[dict[str, Any]] = [
        {"msg": "saw %r", "args": (Odd(),)},
        {"msg": "saw %s", "args": ("a", Odd())},
        {"msg": Odd()},
        {"msg": "field", "fields": {"odd": Odd()}},
        {"msg": "field", "fields": {Odd(): 1}},
        {"msg": "field", "fields": Odd()},
    ]
    source, sink = os.pipe()
    handler = logs.Handler(sink, LogFormat.JSON)
    with os.fdopen(source) as reader:
        for attributes in records:
            handler.handle(record(**attributes))
            line = reader.readline()
            assert "that can't be printed: RuntimeError" in line or "could not be logged" in line
            assert "canary" not in line
