"""`python -m cmi conformance`: the kit against a live driver."""

import os
from pathlib import Path

import pytest

from cmi.conformance import plugin
from cmi.conformance.target import Target


def run(target: Target, items: str | None, junit: Path | None) -> int:
    """Run the suite and print its report.

    Args:
        target: The driver.
        items: Only these items, separated by commas; None for all.
        junit: Where to write a JUnit report.

    Returns:
        The exit code: 0 if no item failed.
    """
    arguments = [
        str(Path(__file__).with_name("live.py")),
        f"--config-file={os.devnull}",
        "--import-mode=importlib",
    ]
    arguments += ["-p", "no:cacheprovider", "--no-header", "--tb=short", "--quiet"]
    if items:
        wanted = (f"test_{item.strip()}_" for item in items.split(","))
        arguments += ["-k", " or ".join(wanted)]
    if junit:
        arguments.append(f"--junit-xml={junit}")
    return int(pytest.main(arguments, plugins=[plugin, _Given(target)]))


class _Given:
    """The plugin that hands the target to the suite."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[plugin.TARGET] = self._target
