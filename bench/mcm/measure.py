"""Machines under the real machine-controller-manager, compared with drivers in Go."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.mcm.contest import Arena, Contestant, Sample, Timing
from bench.mcm.programs import Programs
from bench.report import Report, Target
from bench.rounds import alternate
from bench.setting import Setting
from e2e import binaries

GROUP: Final = "mcm"
OURS: Final = "bridge and rendered driver"
COUNTS: Final = (50, 200, 500)

MEASURES: Final = {
    "rate": "machines/minute",
    "created": "s until Available",
    "deleted": "s until gone",
    "deleted_by_mcm": "s until MCM says gone",
    "alive": "VMs alive then",
    "create_calls": "API calls to create",
    "delete_calls": "API calls to delete",
    "throttled": "throttled calls",
    "replaced": "VMs replaced",
    "cpu": "CPU s/machine",
    "idle": "MiB idle",
    "peak": "MiB peak",
    "connections": "connections",
}
"""The figures of a sample, and their names in the table."""


@dataclass(frozen=True, slots=True)
class Match:
    """Contestants that take turns at the same cloud.

    Attributes:
        timing: How the cloud behaves.
        others: Whom the bridge and a rendered driver are compared with.
        targets: For figures of a sample, compared with the first of them.
    """

    timing: Timing
    others: Mapping[str, Contestant]
    targets: Mapping[str, Target]


MATCHES: Final = {
    "": Match(
        Timing(),
        {
            "Go that waits too": Contestant(("--waits",)),
            # As Gardener's drivers are: once an instance is known, and once its end has begun.
            "Go that answers early": Contestant(()),
        },
        {"created": Target(1), "deleted": Target(1.1), "cpu": Target(2)},
    ),
    ", few calls allowed": Match(
        Timing(is_limited=True),
        {
            "Go that waits too": Contestant(("--waits",)),
            "Go that says INTERNAL": Contestant(("--waits", "--throttling-is-internal")),
        },
        {"created": Target(0.5)},
    ),
}


def measure(setting: Setting, report: Report) -> None:
    """Let the contestants take turns in creating machines and deleting them."""
    if not setting.go:
        report.note("mcm: left out, since etcd, the API server and MCM are built with Go")
        return
    binaries.main()
    folder = setting.folder / GROUP
    folder.mkdir()
    with ExitStack() as processes:
        arena = Arena(folder, Programs.build(folder), processes)
        for count in COUNTS[:1] if setting.quick else COUNTS:
            for case, match in MATCHES.items():
                samples = hold(arena, match, count, 1 if setting.quick else 3)
                tell(report, f"{count} machines{case}", match, samples)


def hold(arena: Arena, match: Match, count: int, rounds: int) -> dict[str, list[Sample]]:
    """Let the contestants of a match take turns; return the samples of each."""
    contestants = {OURS: Contestant(), **match.others}
    return alternate(
        {
            name: partial(arena.run, contestant, count, match.timing)
            for name, contestant in contestants.items()
        },
        rounds,
    )


def tell(report: Report, case: str, match: Match, samples: dict[str, list[Sample]]) -> None:
    """Report the results of a match, divided by those of each of the other contestants."""
    targets = match.targets
    for other in match.others:
        for name, unit in MEASURES.items():
            ours, theirs = ([getattr(each, name) for each in samples[who]] for who in (OURS, other))
            report.compare(GROUP, f"{case} ÷ {other}", unit, ours, theirs, targets.get(name))
        targets = {}  # the others are there to be seen
