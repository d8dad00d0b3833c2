"""Follows the how-to guides that need a running driver to the letter."""

import json
from pathlib import Path

from cmi.conformance.items import ITEMS
from tests.docs.conftest import Serve
from tests.docs.pages import blocks, follow, follows
from tests.driver import CloudFile, Start
from tests.support import ROOT, copy_repository, free_port
from tests.update.projects import recorded

ANSWERS = "docs/how-to/answers.md"
CHECK = "docs/how-to/check-a-driver.md"
DEBUG = "docs/how-to/debug.md"
ERRORS = "docs/how-to/errors.md"
METRICS = "docs/how-to/metrics.md"
TIMEOUTS = "docs/how-to/timeouts.md"
TLS = "docs/how-to/tls.md"
VOLUMES = "docs/how-to/volumes.md"


@follows(ANSWERS, "On the command line")
def test_answers_on_the_command_line(
    commands: list[str], address: dict[str, str], tmp_path: Path
) -> None:
    (copy,) = commands
    follow(tmp_path, copy, address)
    answers = recorded(tmp_path / "mcm-provider-acme")
    assert (answers["github_org"], answers["ci"]) == ("my-company", "gitlab")
    assert answers["license"] == "Apache-2.0"


@follows(ANSWERS, "From a file")
def test_answers_from_a_file(commands: list[str], address: dict[str, str], tmp_path: Path) -> None:
    (copy,) = commands
    (file,) = blocks(ANSWERS, "yaml")
    (tmp_path / file.title).write_text(file.text)
    follow(tmp_path, copy, address)
    answers = recorded(tmp_path / "mcm-provider-acme")
    assert answers["image_repository"] == "registry.example.com/drivers/acme"


@follows(ANSWERS, "Check the answers first")
def test_check_answers(commands: list[str], address: dict[str, str], tmp_path: Path) -> None:
    (file,) = blocks(ANSWERS, "yaml")
    clone = copy_repository(tmp_path / "clone", template=True)
    for path in ROOT.iterdir():
        if path.name != ".git" and not (clone / path.name).exists():
            (clone / path.name).symlink_to(path)
    (clone / file.title).write_text(file.text)
    check, pretend = commands
    shown = follow(clone, check, {})
    assert "provider_name: acme\n" in shown
    assert "repository_name: machine-controller-manager-provider-acme\n" in shown

    text = file.text + "licence: MIT\n"
    for good, bad in (("my-company", "my--company"), ("license: MIT", "license: GPL")):
        text = text.replace(good, bad)
    (clone / file.title).write_text(text.replace("name: acme", "name: azure"))
    complaints = follow(clone, check, {}, exit_code=2).splitlines()[:-1]
    assert [line.removeprefix(f"{file.title}: ") for line in complaints] == [
        "licence: no such question",
        "provider_name: SDK's name; try 'azure_cloud'",
        "github_org: bad owner name; try 'my-company'",
        "license: 'GPL' is not in ['Apache-2.0', 'MIT', 'none']",
    ]
    said = follow(clone, pretend, address, exit_code=1)
    assert said.endswith("'provider_name': SDK's name; try 'azure_cloud'\n")
    assert len(said.splitlines()) == 1


@follows(ERRORS, "See it work")
def test_errors(commands: list[str], folder: Path, serve: Serve) -> None:
    start, create = commands
    (said,) = blocks(ERRORS, "text")
    with serve(folder, start) as there:
        assert follow(folder, create, there, exit_code=1) == said.text
        follow(folder, create, there)


@follows(VOLUMES, "Try it")
def test_volumes(commands: list[str], folder: Path, serve: Serve) -> None:
    (ask,) = commands
    (answer,) = blocks(VOLUMES, "text")
    with serve(folder, "make run") as there:
        assert follow(folder, ask, there) == answer.text


@follows(TIMEOUTS, "Try it")
def test_timeouts(commands: list[str], folder: Path, serve: Serve) -> None:
    start, calls = commands
    *_, said = blocks(TIMEOUTS, "text")
    with serve(folder, start) as there:
        assert follow(folder, calls, there, exit_code=1) == said.text


@follows(TLS, "Make certificates", "Start the driver", "Call it")
def test_tls(commands: list[str], folder: Path, serve: Serve) -> None:
    make, start, call, call_without = commands
    (turned_away,) = blocks(TLS, "text")
    follow(folder, make, {})
    with serve(folder, start) as there:
        assert "acme.gardener" in follow(folder, call, there)
        expected = turned_away.text.replace("tcp://127.0.0.1:8080", there["CMI_ENDPOINT"])
        assert follow(folder, call_without, there, exit_code=1) == expected


@follows(METRICS, "Watch a driver with Prometheus")
def test_metrics(commands: list[str], folder: Path, serve: Serve) -> None:
    port = free_port()
    start, call = (command.replace("9090", str(port)) for command in commands)
    with serve(folder, start) as there:
        shown = follow(folder, call, there)
    assert 'driver_requests_in_flight{provider="acme.gardener"} 0.0' in shown


@follows(
    DEBUG,
    "Debug a driver with the client",
    "Check that the driver answers",
    "What MCM sees",
    "Many machines",
    "Let the cloud misbehave",
)
def test_debug(commands: list[str], folder: Path, serve: Serve) -> None:
    *calls, many, crash = commands
    with serve(folder, "make run") as there:
        shown = follow(folder, "".join(calls), there)
        shown_of_many = follow(folder, calls[0] + many, there)
    assert "CREATE_MACHINE" in shown
    assert "ready\n" in shown
    assert json.loads(shown[shown.rindex("{") :]) == {}
    assert "load-20" in shown_of_many
    assert shown_of_many.endswith("deleted 20 of 20 machines\n")
    cloud = CloudFile(folder / "embedded-cloud.sqlite")
    with serve(folder, crash) as there:
        follow(folder, calls[0] + calls[2].splitlines()[0], there, exit_code=1)
        assert f"no driver answers at {there['CMI_ENDPOINT']};" in follow(
            folder, calls[1], there, exit_code=1
        )
    assert cloud.names("creating") == {"m1"}
    with serve(folder, "make run") as there:
        follow(folder, calls[0] + calls[2], there)
    assert cloud.names("running") == {"m1"}


@follows(CHECK, "Run it", "Look at one item", "After a run that was killed")
def test_check_a_driver(
    commands: list[str], uvx: dict[str, str], installed: Path, start: Start, cloud: CloudFile
) -> None:
    endpoint = str(start(cloud).endpoint)
    samples = installed / "kubernetes"
    check, some_items, clean_up = (
        command.replace("tcp://127.0.0.1:8080", endpoint) for command in commands
    )
    assert "passed   C38" in follow(samples, check, uvx)
    assert f"{len(ITEMS)} items: 3 passed, 0 FAILED" in follow(samples, some_items, uvx)
    create = some_items.replace("cmi conformance", "cmi create conformance-1")
    follow(samples, create.replace("--items=C10,C17,C18", ""), uvx)
    assert cloud.names("running") == {"conformance-1"}
    assert "left behind by an earlier run" in follow(samples, clean_up, uvx)
    assert cloud.inventory() == []
