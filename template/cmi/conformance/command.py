"""`cmi conformance`: runs the kit against a live driver."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cmi.conformance import plugin
from cmi.conformance.items import ITEMS
from cmi.conformance.target import Target


class UnknownItemError(ValueError):
    """The text contains something other than a conformance item."""


def parse_items(text: str) -> list[str]:
    """Return the items in a comma-separated text.

    Raises:
        UnknownItemError: One of them is not in the list.
    """
    items = [item.strip().upper() for item in text.split(",")]
    for item in items:
        if item not in ITEMS:
            raise UnknownItemError(f"{item or 'nothing'} is not an item of {', '.join(ITEMS)}")
    return items


def run(target: Target, items: Sequence[str], junit: Path | None) -> int:
    """Run the suite and print its report.

    Args:
        target: The driver.
        items: Only these items; none for all.
        junit: Where to write a JUnit report.

    Returns:
        The exit code: 0 if no item failed.
    """
    arguments = [
        str(Path(__file__).with_name("live.py")),
        f"--config-file={os.devnull}",
        "--import-mode=importlib",
    ]
    # The report contains everything there is to say about a failure.
    arguments += ["-p", "no:cacheprovider", "--no-header", "--tb=no", "-rN", "--quiet"]
    if items:
        arguments += ["-k", " or ".join(f"test_{item}_" for item in items)]
    if junit:
        arguments.append(f"--junit-xml={junit}")
    with _ends_in_order():
        return int(pytest.main(arguments, plugins=[plugin, _Given(target)]))


class _Given:
    """The plugin that passes the target to the suite."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[plugin.TARGET] = self._target


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the run like Ctrl-C, so that its machines are deleted.

    When CI systems cancel a job, they send SIGINT first and SIGTERM some seconds later, in the
    middle of the clean-up. So only a second Ctrl-C ends the clean-up.
    """
    is_ending = False

    def end(number: int, _frame: object) -> None:
        nonlocal is_ending
        if is_ending and number != signal.SIGINT:
            return
        is_ending = True
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
