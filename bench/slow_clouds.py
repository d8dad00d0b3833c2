"""Slow clouds: a thousand calls in flight, one second each."""

from statistics import median

from bench.load import Load
from bench.report import Report, Target
from bench.setting import FORMS, NAMES, Setting

CALLS = 1000
SECONDS = 1.0
TARGETS = {"async": Target(1.15), "thread": Target(1.3)}


def measure(setting: Setting, report: Report) -> None:
    """Compare the time of all calls together with that of one."""
    generator = setting.generator()
    load = Load(callers=CALLS)
    for form in FORMS:
        walls, memory = [], []
        for _ in range(setting.rounds):
            with setting.driver(form, BENCH_SECONDS=SECONDS) as driver:
                before = driver.usage.resident()
                walls.append(generator.run(driver, load, calls=CALLS).wall)
                memory.append((driver.usage.peak() - before) * 1024 / CALLS)
        case = f"{CALLS} calls of {SECONDS:g} s at once, {NAMES[form]}"
        ideal = [SECONDS] * setting.rounds
        report.compare("slow clouds", case, "wall s", walls, ideal, TARGETS[form])
        report.figure("slow clouds", case, "KiB per call", median(memory))
