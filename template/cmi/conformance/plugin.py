"""The pytest plugin of the kit: the report of the items at the end of a run."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import pytest

from cmi.conformance.items import ITEMS
from cmi.conformance.target import Target

TARGET: Final = pytest.StashKey[Target]()
LEFT_BEHIND: Final = "conformance: left behind"
_TEST: Final = re.compile(r"::test_(C\d+)_")


@dataclass
class _Tally:
    """How the tests of one item ended.

    Attributes:
        passed: How many passed.
        failed: What the failing ones said.
        skipped: Why the others were skipped.
    """

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """FAILED if one test failed, else passed if one passed, else skipped."""
        if self.failed:
            return "FAILED"
        return "passed" if self.passed else "skipped"

    @property
    def reasons(self) -> list[str]:
        """Why it failed, or else why it was not checked in full; each reason once."""
        return list(dict.fromkeys(self.failed or self.skipped))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the report, if a test of the suite was run."""
    reports = [
        report
        for outcome in ("passed", "failed", "error", "skipped", "")  # the last: setup, teardown
        for report in terminalreporter.getreports(outcome)
        if isinstance(report, pytest.TestReport)
    ]
    tallies = _count(reports)
    if not tallies:
        return
    terminalreporter.section("conformance")
    for item, sentence in ITEMS.items():
        tally = tallies.get(item)
        verdict = tally.verdict if tally else "not run"
        color = {"passed": "green", "FAILED": "red"}.get(verdict, "yellow")
        terminalreporter.write(f"{verdict:8}", **{color: True})
        terminalreporter.write_line(f" {item:4} {sentence}")
        for reason in tally.reasons if tally else []:
            terminalreporter.write_line(f"              {reason}")
    verdicts = [tally.verdict for tally in tallies.values()]
    counts = (f"{verdicts.count(kind)} {kind}" for kind in ("passed", "FAILED", "skipped"))
    terminalreporter.write_line(f"{len(ITEMS)} items: {', '.join(counts)}")
    for machine in _left_behind(reports):
        terminalreporter.write_line(f"left behind, delete it by hand: {machine}", red=True)


def _count(reports: Iterable[pytest.TestReport]) -> dict[str, _Tally]:
    tallies: dict[str, _Tally] = {}
    for report in reports:
        match = _TEST.search(report.nodeid)
        if match is None:
            continue
        tally = tallies.setdefault(match[1], _Tally())
        if report.failed:
            tally.failed.append(_first_line(report))
        elif report.skipped and isinstance(report.longrepr, tuple):
            tally.skipped.append(report.longrepr[2].removeprefix("Skipped: "))
        elif report.when == "call":
            tally.passed += 1
    return tallies


def _first_line(report: pytest.TestReport) -> str:
    """Return what a failing test said, without its traceback."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext
    name = report.nodeid.rpartition("::")[2]
    return f"{name}: {text.splitlines()[0] if text else 'no message'}"


def _left_behind(reports: Iterable[pytest.TestReport]) -> list[str]:
    return [
        str(machine)
        for report in reports
        for key, machine in report.user_properties
        if key == LEFT_BEHIND and report.when == "teardown"
    ]
