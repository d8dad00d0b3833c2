"""The benchmarks run, and their table contains what they measured. No time is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import Report, Target
from bench.rounds import alternate
from tests.support import ROOT


def test_contestants_take_turns_in_changing_order() -> None:
    seen: list[str] = []

    def sample(name: str) -> int:
        seen.append(name)
        return len(seen)

    samples = alternate({"a": lambda: sample("a"), "b": lambda: sample("b")}, rounds=3)
    assert "".join(seen) == "abbaab"
    assert samples == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_ratio_is_the_median_of_those_of_each_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report()
    report.compare("calls", "create", "calls/s", [80, 90, 50], [100, 100, 100], Target(0.85, True))
    report.compare("calls", "create", "p99 ms", [1, 1, 1], [1, 1, 1], Target(1.25))
    report.write(tmp_path / "found/bench.json")
    rate, tail = json.loads((tmp_path / "found/bench.json").read_text())["rows"]
    assert (rate["ratio"], rate["low"], rate["high"], rate["met"]) == (0.8, 0.5, 0.9, False)
    assert (tail["ratio"], tail["target"], tail["met"]) == (1, "≤ 1.25", True)
    assert "≥ 0.85 MISSED" in capsys.readouterr().out


def test_a_target_may_be_for_the_figure_itself(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.compare("mcm", "50 machines", "calls", [4, 2, 2], [1, 1, 1], Target(3, is_absolute=True))
    assert report.rows[0].met
    assert "figure ≤ 3 met" in capsys.readouterr().out


def test_a_failed_group_loses_nothing_that_was_measured_before(tmp_path: Path) -> None:
    program = """
import sys
from bench import __main__ as bench

def measure(_setting, report):
    report.sample("50 machines", "Go", {"created": 12.5})
    raise RuntimeError("no further run")

bench.GROUPS[bench.mcm.GROUP] = measure
sys.argv[1:] = [bench.mcm.GROUP, "--json", "found.json"]
bench.main()
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'template'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no further run" in result.stderr
    (sample,) = json.loads((tmp_path / "found.json").read_text())["samples"]
    assert sample == {"case": "50 machines", "contestant": "Go", "created": 12.5}


def test_a_run_measures_the_driver_and_the_floor(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--no-go", f"--json={tmp_path}/out", "memory"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "template")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    idle, growth = json.loads((tmp_path / "out").read_text())["rows"]
    assert idle["value"] > 0
    assert idle["base"] > 0
    assert growth["measure"] == "bytes per call"


def test_an_unknown_group_is_refused_with_the_known_ones() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench", "speed"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "template")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "no such group: speed; there are mcm, cold-start," in result.stderr
