"""Calls: throughput, CPU and latency of a driver without a cloud, compared with minimal servers."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from bench.load import Load, Seen
from bench.report import Report, Target
from bench.rounds import alternate
from bench.setting import FORMS, NAMES, Form, Setting

RPCS = ("CreateMachine", "GetMachineStatus", "ListMachines")
ROUNDS = 5
TAIL = Target(1.25)
TO_GO = Target(0.60, at_least=True)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to run the driver, and what its throughput is to be."""

    name: str
    target: Target | None
    log: bool = False
    experiment: bool = False


DRIVERS = (
    Contestant("log off", Target(0.85, at_least=True)),
    Contestant("log on", Target(0.70, at_least=True), log=True),
    Contestant("log off, older event loop of gRPC", None, experiment=True),
)


def measure(setting: Setting, report: Report) -> None:
    """Measure every case; in quick mode those that the others follow from."""
    for form in FORMS:
        with ExitStack() as servers:
            floor = servers.enter_context(setting.floor(form))
            drivers = {
                each.name: servers.enter_context(
                    setting.driver(
                        form,
                        log=each.log,
                        GRPC_EXPERIMENTS="-event_engine_listener" if each.experiment else "",
                    )
                )
                for each in DRIVERS
            }
            contestants = {"floor": floor, **drivers}
            if setting.go:
                contestants["go"] = servers.enter_context(setting.go_floor())
            generator = setting.generator()
            for load in _loads(setting, form):
                run = {
                    name: partial(generator.run, server, load, seconds=_seconds(setting))
                    for name, server in contestants.items()
                }
                _tell(report, form, load, alternate(run, ROUNDS))


def _seconds(setting: Setting) -> float:
    return 0.2 if setting.quick else 0.3


def _loads(setting: Setting, form: Form) -> Iterator[Load]:
    if setting.quick:
        yield Load()
        if form == "async":
            yield Load(new_connections=True)
        return
    for rpc in RPCS:
        for new_connections in (False, True):
            for callers in (1, 16, 64):
                yield Load(rpc=rpc, callers=callers, new_connections=new_connections)


def _tell(report: Report, form: Form, load: Load, samples: dict[str, list[Seen]]) -> None:
    floor = samples["floor"]
    for driver in DRIVERS:
        seen = samples[driver.name]
        case = f"{load}, {NAMES[form]}, {driver.name}"
        tail = TAIL if driver.target else None
        for name, target, scale in (
            ("rate", driver.target, 1),
            ("cpu", None, 1e6),
            ("p50", None, 1e3),
            ("p99", tail, 1e3),
        ):
            of = [getattr(one, name) * scale for one in seen]
            base = [getattr(one, name) * scale for one in floor]
            report.compare("calls", case, MEASURES[name], of, base, target)
    if "go" in samples and load.new_connections:
        seen, go = samples["log off"], samples["go"]
        case = f"{load}, {NAMES[form]}, log off, ÷ Go"
        rates = [one.rate for one in seen], [one.rate for one in go]
        report.compare("calls", case, MEASURES["rate"], *rates, TO_GO)
        cpu = [one.cpu * 1e6 for one in seen], [one.cpu * 1e6 for one in go]
        report.compare("calls", case, MEASURES["cpu"], *cpu)


MEASURES = {"rate": "calls/s", "cpu": "CPU µs/call", "p50": "p50 ms", "p99": "p99 ms"}
