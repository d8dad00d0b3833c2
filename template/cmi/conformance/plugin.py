"""The pytest plugin of the kit: the report of the items, and logs with their fields."""

import logging
import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Final

import pytest

from cmi.conformance.items import ITEMS
from cmi.conformance.kit import Findings
from cmi.conformance.target import Target
from cmi.redaction import Redactor, Sources

TARGET: Final = pytest.StashKey[Target]()
FINDINGS: Final = pytest.StashKey[dict[str, Findings]]()
"""The state of each target, by its endpoint."""
LEFT_BEHIND: Final = "conformance: left behind"
_TEST: Final = re.compile(r"::test_(C\d+)_")


def item_of(node_id: str) -> str:
    """Return the item that a test of the suite checks, or an empty text for any other test."""
    match = _TEST.search(node_id)
    return match[1] if match else ""


@dataclass
class _Tally:
    """The results of one item's tests.

    Attributes:
        passed: How many passed.
        failed: The messages of the failed ones.
        skipped: The reasons why the others were skipped.
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


class _WithFields(logging.Formatter):
    """Adds the fields of the record to the first line of another formatter's output."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = self._inner.format(record).split("\n")
        fields = getattr(record, "fields", {})
        told = [first, *(f"{key}={value!r}" for key, value in fields.items())]
        return "\n".join([" ".join(told), *rest])


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let captured logs of failing tests show the fields of their records."""
    logs = session.config.pluginmanager.get_plugin("logging-plugin")
    handler = getattr(logs, "report_handler", None)
    if handler is not None and handler.formatter is not None:
        handler.setFormatter(_WithFields(handler.formatter))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mask the target's secrets, which a driver may have returned, in the whole report."""
    report = yield
    target = getattr(item, "funcargs", {}).get("target")
    if isinstance(target, Target):
        _mask_secrets(report, target)
    return report


def _mask_secrets(report: pytest.TestReport, target: Target) -> None:
    redactor = Redactor()
    redactor.add(Sources(plain=[*target.machine_class.secrets.values()]))
    if report.longrepr and not isinstance(report.longrepr, tuple):
        masked = redactor.scrub(report.longreprtext)
        if masked != report.longreprtext:
            report.longrepr = masked
    report.sections = [(name, redactor.scrub(text)) for name, text in report.sections]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
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
    # Otherwise, pytest has printed the failures above.
    with_failures = config.option.tbstyle == "no"
    terminalreporter.section("conformance")
    for item, sentence in ITEMS.items():
        tally = tallies.get(item)
        verdict = tally.verdict if tally else "not run"
        color = {"passed": "green", "FAILED": "red"}.get(verdict, "yellow")
        terminalreporter.write(f"{verdict:8}", **{color: True})
        terminalreporter.write_line(f" {item:4} {sentence}")
        if tally:
            failed = tally.failed if with_failures else []
            for reason in dict.fromkeys([*failed, *(f"skipped: {it}" for it in tally.skipped)]):
                terminalreporter.write_line(f"              {reason}")
    verdicts = [tally.verdict for tally in tallies.values()]
    counts = (f"{verdicts.count(kind)} {kind}" for kind in ("passed", "FAILED", "skipped"))
    terminalreporter.write_line(f"{len(ITEMS)} items: {', '.join(counts)}")
    for findings in config.stash.get(FINDINGS, {}).values():
        terminalreporter.write_line(
            f"{findings.made} machines were created, at most {findings.most} at once"
        )
    for machine in _left_behind(reports):
        terminalreporter.write_line(f"left behind, delete it by hand: {machine}", red=True)


def _count(reports: Iterable[pytest.TestReport]) -> dict[str, _Tally]:
    tallies: dict[str, _Tally] = {}
    for report in reports:
        item = item_of(report.nodeid)
        if not item:
            continue
        tally = tallies.setdefault(item, _Tally())
        if report.failed:
            tally.failed.append(_sentence(report, item))
        elif report.skipped and isinstance(report.longrepr, tuple):
            tally.skipped.append(report.longrepr[2].removeprefix("Skipped: "))
        elif report.when == "call":
            tally.passed += 1
    return tallies


def _sentence(report: pytest.TestReport, item: str) -> str:
    """Return the message of a failing test, without its traceback."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = (crash.message if crash is not None else report.longreprtext).strip()
    first = text.partition("\n")[0] or "it failed without a message"
    for prefix in ("Failed: ", "AssertionError: ", f"{item}: "):
        first = first.removeprefix(prefix)
    return f"{report.nodeid.rpartition('::')[2].removeprefix(f'test_{item}_')}: {first}"


def _left_behind(reports: Iterable[pytest.TestReport]) -> list[str]:
    return [
        str(machine)
        for report in reports
        for key, machine in report.user_properties
        if key == LEFT_BEHIND and report.when == "teardown"
    ]
