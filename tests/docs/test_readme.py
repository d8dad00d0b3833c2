"""The README, and the commands that run tests."""

from pathlib import Path

from tests.docs.pages import follow, follows
from tests.driver import CloudFile, Start
from tests.support import DATA, ROOT
from tests.update.projects import recorded

README = "README.md"
INDEX = "docs/index.md"
FAULTS = "docs/explanation/faults.md"


@follows(README, "See it run")
def test_demo(commands: list[str]) -> None:
    demo, test = commands[0].splitlines()
    assert test.startswith("make test ")  # this command runs this test
    shown = follow(ROOT, demo, {})
    for machine in ("machine-1", "machine-2", "machine-3"):
        assert f"{machine}   demo:///" in shown
    assert "deleted 3 of 3 machines" in shown
    assert shown.index("\nSTEP ") < shown.index("\nNext:\n")
    assert max(map(len, shown.splitlines())) <= 80


@follows(INDEX, "A driver for any cloud, in Python")
def test_landing_page(commands: list[str], address: dict[str, str], tmp_path: Path) -> None:
    install, copy = commands[0].splitlines()
    assert install.startswith("uv tool install copier ")
    follow(tmp_path, f"{copy} --defaults {' '.join(DATA)}", address)
    assert recorded(tmp_path / "mcm-provider-acme")["provider_name"] == "acme"


@follows(README, "Make a driver")
def test_make_a_driver(commands: list[str], address: dict[str, str], tmp_path: Path) -> None:
    install, copy = commands[0].splitlines()
    assert install.startswith("uv tool install copier ")  # copier is installed already
    follow(tmp_path, f"{copy} --defaults {' '.join(DATA)}", address)
    assert recorded(tmp_path / "mcm-provider-aws")["provider_name"] == "acme"


@follows(README, "Check a driver, in any language")
def test_check_a_driver(
    commands: list[str], uvx: dict[str, str], installed: Path, start: Start, cloud: CloudFile
) -> None:
    endpoint = str(start(cloud).endpoint)
    check = commands[0].replace("tcp://127.0.0.1:8080", endpoint)
    assert "0 FAILED" in follow(installed / "kubernetes", check, uvx)


@follows(FAULTS, "What a driver survives")
def test_figures(commands: list[str]) -> None:
    """This runs only one of these tests, since the suite runs all of them anyway."""
    one = {"PYTEST_ADDOPTS": "-k test_a_thousand_sleeping_calls"}
    assert "at once" in follow(ROOT, commands[0], one)
