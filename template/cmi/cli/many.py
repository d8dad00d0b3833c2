"""Makes calls for many machines at once, with a progress bar on a terminal."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import grpc
import typer

from cmi.cli.errors import describe
from cmi.cli.output import print_error

PARALLEL: Final = 10
"""The maximum number of simultaneous calls."""

T = TypeVar("T")


@dataclass(frozen=True)
class Result(Generic[T]):
    """The result of the calls.

    Attributes:
        answers: The answers, in the order of the machines.
        failures: The machines by reason of failure.
    """

    answers: dict[str, T]
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def end(self) -> None:
        """Print a line for each reason of failure, and exit with 1 if there is one."""
        for reason, names in self.failures.items():
            others = f" and {len(names) - 3} more" if len(names) > 3 else ""
            print_error(f"{', '.join(names[:3])}{others}: {reason}")
        if self.failures:
            raise typer.Exit(1)


def call(
    title: str,
    keys: Sequence[str],
    function: Callable[[str], T],
    label: Callable[[str], str] = str,
) -> Result[T]:
    """Call a function once for each key.

    Args:
        title: The title of the progress bar.
        keys: The arguments of the function. If there is only one, a failure raises its error.
        function: Makes one call.
        label: Returns the name of a key for messages.
    """
    if len(keys) == 1:
        return Result({keys[0]: function(keys[0])})
    answers: dict[str, T] = {}
    reasons: dict[str, str] = {}
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        calls = {pool.submit(function, key): key for key in keys}
        with _bar(title, len(keys)) as advance:
            for done in as_completed(calls):
                try:
                    answers[calls[done]] = done.result()
                except grpc.RpcError as error:
                    reasons[calls[done]] = describe(error)
                advance()
    finally:
        # After Ctrl-C, don't wait: closing the client cancels the running calls.
        pool.shutdown(wait=False, cancel_futures=True)
    result = Result({key: answers[key] for key in keys if key in answers})
    for key in keys:
        if key in reasons:
            result.failures[reasons[key]].append(label(key))
    return result


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal; yield a function that advances it."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style="green", finished_style="green"),
        MofNCompleteColumn(),
    )
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)
