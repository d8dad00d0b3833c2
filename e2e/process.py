"""Processes on loopback that log to files and end with the test."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

PATIENCE = 240.0
"""Seconds after which a test stops waiting. MCM repeats some calls only after 180 s."""
INTERVAL = 0.2

ENDED_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Runs a command that the kernel kills when the thread that started it ends, however it ends."""


def await_value(read: Callable[[], object], wanted: object) -> None:
    """Wait until `read` returns the wanted value; on failure, show both values."""
    await_condition(read, lambda value: value == wanted, f"wanted: {wanted}")


def await_condition(
    read: Callable[[], T], holds: Callable[[T], bool], what: str, patience: float = PATIENCE
) -> T:
    """Wait until `holds` is true for the result of `read`, and return that result."""
    deadline = time.monotonic() + patience
    while not holds(value := read()):
        assert time.monotonic() < deadline, f"{what}; still: {value}"
        time.sleep(INTERVAL)
    return value


@contextmanager
def repeatedly(action: Callable[[], object]) -> Iterator[None]:
    """Call a function in a thread, again and again with pauses, while the context is open.

    Raises:
        BaseException: What the function raised, which is then not called any more.
    """
    ended = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not ended.wait(INTERVAL):
                action()
        except BaseException as error:  # noqa: BLE001 - raised where the test sees it
            errors.append(error)

    thread = threading.Thread(target=run, name="repeatedly")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)
        for error in errors:
            raise error


class Process:
    """A process that can be killed, together with its children, and started again.

    If the tests are killed, the kernel kills it too.

    Args:
        command: The command to run.
        log: The file for its output. Restarts append to it.
        folder: Its working directory, by default the folder of its log.
        environment: Variables in addition to those of this process.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [*ENDED_WITH_US, *map(str, command)]
        self._log = log
        self._folder = folder or log.parent
        self._environment = os.environ | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start or restart the process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The ID of the process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End the process like kill -9."""
        assert self._process is not None
        with suppress(ProcessLookupError):  # it has ended, without leaving other processes behind
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def stop(self) -> int:
        """End the process with SIGTERM, like Kubernetes, and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def check(self) -> None:
        """Fail if the process has ended."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self._log.stem} has ended; see {self._log}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()
