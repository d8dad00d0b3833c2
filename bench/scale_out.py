"""Scale out: several driver processes on one endpoint; the kernel spreads connections over them."""

from contextlib import ExitStack
from functools import partial

from bench import machine
from bench.load import Load, Seen
from bench.machine import free_endpoint
from bench.report import Report
from bench.rounds import alternate
from bench.setting import Setting


def measure(setting: Setting, report: Report) -> None:
    """Compare two and four processes with one, all on every core, beside the client."""
    generator = setting.generator()
    every = machine.SERVER_CORES | machine.CLIENT_CORES
    load = Load(new_connections=True)
    with ExitStack() as servers:
        groups = {}
        for count in (1, 2, 4):
            endpoint = free_endpoint()
            groups[count] = [
                servers.enter_context(
                    setting.driver(endpoint=endpoint, cores=every, BENCH_SHARED="yes")
                )
                for _ in range(count)
            ]
        seconds = 0.5 if setting.quick else 2
        samples: dict[str, list[Seen]] = alternate(
            {
                str(count): partial(generator.run, group[0], load, seconds=seconds, cores=every)
                for count, group in groups.items()
            },
            setting.rounds,
        )
    one = [seen.rate for seen in samples["1"]]
    for count in (2, 4):
        rates = [seen.rate for seen in samples[str(count)]]
        report.compare("scale out", f"{count} processes ÷ one, {load}", "calls/s", rates, one)
