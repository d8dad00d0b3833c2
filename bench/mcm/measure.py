"""Machines under the real machine-controller-manager, compared with drivers in Go."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
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
    "surplus": "surplus machines",
    "cpu": "CPU s/machine",
    "controller_cpu": "CPU s/machine, bridge",
    "idle": "MiB idle",
    "controller_idle": "MiB idle, bridge",
    "peak": "MiB peak",
    "connections": "connections",
}
"""The figures of a sample, and their names in the table."""

WORKERS: Final = "--concurrent-syncs=500"
"""Gives a driver in Go as many workers as the bridge has; MCM's default is 50."""


@dataclass(frozen=True, slots=True)
class Match:
    """Contestants that take turns at the same cloud.

    Attributes:
        case: The name of the match.
        timing: How the cloud behaves.
        others: Whom the bridge and a rendered driver are compared with.
        targets: For figures of a sample, compared with the first of them.
    """

    case: str
    timing: Timing
    others: Mapping[str, Contestant]
    targets: Mapping[str, Target]


MATCHES: Final = (
    Match(
        "",
        Timing(),
        {
            "Go that waits too": Contestant(("--waits", WORKERS)),
            "Go that waits too, 50 workers": Contestant(("--waits",)),
            # As Gardener's drivers are: once an instance is known, and once its end has begun.
            "Go that answers early": Contestant((WORKERS,)),
            "rendered driver that answers at once": Contestant(answers_at_once=True),
        },
        {
            "created": Target(1),
            "deleted": Target(1.1),
            "create_calls": Target(3, is_absolute=True),
            "delete_calls": Target(2, is_absolute=True),
            "cpu": Target(2),
            "idle": Target(110, is_absolute=True),
            "peak": Target(200, is_absolute=True),
        },
    ),
    Match(
        ", few calls allowed",
        Timing(is_limited=True),
        {
            "Go that waits too": Contestant(("--waits", WORKERS)),
            # MCM repeats INTERNAL only after three minutes.
            "Go that says INTERNAL": Contestant(("--waits", "--throttling-is-internal"), most=50),
        },
        {"created": Target(0.5)},
    ),
)


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
            for match in MATCHES:
                others = {name: each for name, each in match.others.items() if count <= each.most}
                if setting.quick:
                    others = dict([*others.items()][:1])
                chosen, case = replace(match, others=others), f"{count} machines{match.case}"
                samples = hold(arena, chosen, count, 1 if setting.quick else 3, report, case)
                tell(report, case, chosen, samples)


def hold(
    arena: Arena, match: Match, count: int, rounds: int, report: Report, case: str
) -> dict[str, list[Sample]]:
    """Let the contestants of a match take turns; return the samples of each."""

    def turn(name: str, contestant: Contestant) -> Callable[[], Sample]:
        def run() -> Sample:
            sample = arena.run(contestant, count, match.timing)
            report.sample(case, name, asdict(sample))
            return sample

        return run

    contestants = {OURS: Contestant(), **match.others}
    return alternate({name: turn(name, each) for name, each in contestants.items()}, rounds)


def tell(report: Report, case: str, match: Match, samples: dict[str, list[Sample]]) -> None:
    """Report the results of a match, divided by those of each of the other contestants."""
    targets = match.targets
    for other in match.others:
        for name, unit in MEASURES.items():
            ours, theirs = ([getattr(each, name) for each in samples[who]] for who in (OURS, other))
            report.compare(GROUP, f"{case} ÷ {other}", unit, ours, theirs, targets.get(name))
        targets = {}  # the others are there to be seen
