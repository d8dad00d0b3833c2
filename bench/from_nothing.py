"""From nothing: from the template to a rendered project whose tests have passed."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from bench.report import Report
from bench.setting import Setting, install, render, run


def measure(setting: Setting, report: Report) -> None:
    """Time the three steps, with what they download in uv's cache."""
    rounds = 1 if setting.quick else setting.rounds
    project = setting.folder / "from-nothing"
    steps: dict[str, Callable[[], None]] = {
        "copier copy": partial(render, project),
        "make setup": partial(install, project),
        "make test": partial(run, project, "make", "--silent", "test"),
    }
    times: dict[str, list[float]] = {step: [] for step in steps}
    for _ in range(rounds):
        shutil.rmtree(project, ignore_errors=True)
        for step, action in steps.items():
            began = time.perf_counter()
            action()
            times[step].append(time.perf_counter() - began)
    totals = [sum(taken) for taken in zip(*times.values(), strict=True)]
    for step, taken in {**times, "all": totals}.items():
        report.figure("from nothing", step, "s", median(taken))
