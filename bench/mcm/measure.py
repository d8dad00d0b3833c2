"""Machines under the real machine-controller-manager, beside a driver in Go."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bench.mcm.contest import Arena, Contestant, Sample, Timing
from bench.mcm.programs import Programs
from bench.report import Report, Target
from bench.rounds import alternate
from bench.setting import Setting

GROUP: Final = "mcm"
OURS: Final = Contestant()
WAITING: Final = Contestant(("--waits",))
EARLY: Final = Contestant(())
"""As Gardener's drivers are: it answers once an instance is known, and once its end has begun."""
TOLD_INTERNAL: Final = Contestant(("--waits", "--throttling-is-internal"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Whom the bridge and a rendered driver are compared with, and at what.

    Attributes:
        peer: Says who the other one is.
        other: The other one.
        timing: How the cloud behaves.
        targets: For some figures of a sample.
    """

    peer: str
    other: Contestant
    timing: Timing
    targets: dict[str, Target]


MEASURES: Final = {
    "created": "s until Available",
    "deleted": "s until gone",
    "deleted_by_mcm": "s until MCM says gone",
    "alive": "VMs alive then",
    "create_calls": "API calls to create",
    "delete_calls": "API calls to delete",
    "throttled": "throttled calls",
    "replaced": "VMs replaced",
    "cpu": "CPU ms/machine",
    "idle": "MiB idle",
    "peak": "MiB peak",
    "connections": "connections",
}
CONTESTS: Final = (
    Contest(
        peer="a Go driver that waits too",
        other=WAITING,
        timing=Timing(),
        targets={"created": Target(1), "deleted": Target(1.1), "cpu": Target(2)},
    ),
    Contest(peer="a Go driver that answers early", other=EARLY, timing=Timing(), targets={}),
    Contest(
        peer="a Go driver that waits too, few calls allowed",
        other=WAITING,
        timing=Timing(is_limited=True),
        targets={"created": Target(0.5)},
    ),
    Contest(
        peer="a Go driver that calls throttling INTERNAL, few calls allowed",
        other=TOLD_INTERNAL,
        timing=Timing(is_limited=True),
        targets={"created": Target(0.5)},
    ),
)


def measure(setting: Setting, report: Report) -> None:
    """Let the contestants make 50, 200 and 500 machines in turns, and delete them."""
    if not setting.go:
        report.note("mcm: left out, since etcd, the API server and MCM are built with Go")
        return
    folder = setting.folder / GROUP
    folder.mkdir()
    with ExitStack() as processes:
        arena = Arena(folder, Programs.build(folder), processes)
        for count in (50,) if setting.quick else (50, 200, 500):
            for contest in CONTESTS:
                hold(arena, contest, count, 1 if setting.quick else 3, report)


def hold(arena: Arena, contest: Contest, count: int, rounds: int, report: Report) -> None:
    """Hold one contest, and report what it showed."""
    samples = alternate(
        {
            "ours": lambda: arena.run(OURS, count, contest.timing),
            "other": lambda: arena.run(contest.other, count, contest.timing),
        },
        rounds,
    )
    case = f"{count} machines ÷ {contest.peer}"

    def figures(name: str, measure: str) -> list[float]:
        return [figure(sample, measure) for sample in samples[name]]

    for measure, unit in MEASURES.items():
        target = contest.targets.get(measure)
        report.compare(GROUP, case, unit, figures("ours", measure), figures("other", measure), target)
    per_minute = [[60 * count / each for each in figures(name, "created")] for name in samples]
    report.compare(GROUP, case, "machines/min", *per_minute)


def figure(sample: Sample, measure: str) -> float:
    """Return a figure in the unit of `MEASURES`."""
    value: float = getattr(sample, measure)
    return 1000 * value if measure == "cpu" else value
