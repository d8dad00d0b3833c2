"""`make bench`: measure, print a table, write JSON."""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import (
    calls,
    cold_start,
    machine,
    memory,
    size,
    slow_clouds,
)
from bench.mcm import measure as mcm
from bench.report import Report
from bench.setting import ROOT, Setting

GROUPS: dict[str, Callable[[Setting, Report], None]] = {
    mcm.GROUP: mcm.measure,
    "cold-start": cold_start.measure,
    "calls": calls.measure,
    "slow-clouds": slow_clouds.measure,
    "size": size.measure,
    "memory": memory.measure,
}


def main() -> None:
    """Run the requested groups, or all of them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and so are the servers
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--quick", action="store_true", help="measure less, in minutes")
    parser.add_argument("--no-go", action="store_true", help="as if Go were not installed")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench.json", metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    report = Report()
    report.note(f"measured on {machine.describe()}")
    go = shutil.which("go") is not None and not options.no_go
    if not go:
        report.note("without Go: the client is in Python, and slower than the servers at times")
    if machine.SERVER_CORES == machine.CLIENT_CORES:
        report.note("there is one core, which servers and clients share")
    with tempfile.TemporaryDirectory(prefix="mcm-provider-bench-") as folder:
        setting = Setting(Path(folder), options.quick, go, rounds=3 if options.quick else 5)
        chosen = options.groups or [*GROUPS]
        if {*chosen} - {mcm.GROUP}:
            setting.prepare()
        try:
            for name in chosen:
                GROUPS[name](setting, report)
        finally:  # a failure, or ctrl-c, does not lose what was measured before
            report.write(options.json)
            print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
