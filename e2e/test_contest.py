"""The benchmark of machines under MCM runs, and counts the calls of the cloud's API.

No time is asserted.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from bench.mcm.contest import Arena, Contestant, Timing
from bench.mcm.measure import MATCHES, MEASURES, OURS, hold, tell
from bench.mcm.programs import Programs
from bench.report import Report

QUICK = Timing(latency=0.01, pending=0.5, shutting_down=0.5)


@pytest.fixture(scope="module")
def arena(binaries: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    folder = tmp_path_factory.mktemp("arena")
    programs = Programs.build(folder / "programs")
    with ExitStack() as processes:
        yield Arena(folder, programs, processes)


def test_all_make_and_delete_machines(arena: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    report, case = Report(), "2 machines"
    match = replace(MATCHES[0], timing=QUICK)
    samples = hold(arena, match, 2, 1, report, case)
    assert {*samples} == {OURS, *match.others}
    for name, (sample,) in samples.items():
        assert sample.create_calls > 1, f"{name} looks for machines and launches each of them"
        assert sample.delete_calls >= 1, f"{name} terminates each machine"
        assert sample.throttled == 0, name
        assert 0 < sample.idle <= sample.peak, name
        assert sample.connections >= 1, name
    assert samples[OURS][0].alive == 0, "MCM said that the VMs were gone"
    assert [each["contestant"] for each in report.samples] == [*samples]
    tell(report, case, match, samples)
    told = capsys.readouterr().out
    assert [unit for unit in MEASURES.values() if unit not in told] == []


def test_a_cloud_that_allows_few_calls_costs_no_machine(arena: Arena) -> None:
    """RunInstances may be called five times at once."""
    sample = arena.run(Contestant(), 20, replace(QUICK, is_limited=True))
    assert sample.throttled > 0
    log = max(arena.folder.glob("run-*/driver.log"), key=lambda path: path.stat().st_mtime)
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    codes = [call["code"] for call in calls if call.get("rpc") == "CreateMachine"]
    assert len(codes) >= 20
    assert {*codes} == {"OK"}
