"""Rendered projects are complete and clean, and pass the checks that they contain."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from copier import run_copy
from packaging.utils import canonicalize_name
from pytest_copie.plugin import Copie

from tests.support import DELIMITERS, QUESTIONS, ROOT, SUFFIX, TEMPLATE, commit, files_of, git, make

# These contain every value of every choice, and all kinds of titles and names.
PROJECTS = {
    "aws": {"provider_name": "aws", "provider_title": "AWS", "github_org": "acme"},
    "gcp": {
        "provider_name": "gcp",
        "provider_title": "GoogleCloud",
        "github_org": "acme",
        "license": "MIT",
        "ci": "gitlab",
    },
    "longest": {
        "provider_name": "a_provider_with_a_name_of_forty_letters_",
        "provider_title": "Ålesund Cloud & Sons + Co.",
        "github_org": "an-owner-with-39-letters-on-all-GitHubs",
        "repository_name": "Driver.of_mine-" + "x" * 85,
        "license": "none",
        "ci": "none",
        "image_repository": "registry.example.com:5000/drivers/mine",
    },
}
SCHEMA = ("check-jsonschema", "--builtin-schema")
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}")
OTHER_PROVIDERS = re.compile(
    r"(?<![a-z])(aws|amazon|gcp|azure|alicloud|alibaba|openstack|vsphere|hetzner|equinix|ionos)"
    r"(?![a-z])",
    re.IGNORECASE,
)


@pytest.fixture(scope="session", params=list(PROJECTS.values()), ids=list(PROJECTS))
def answers(request: pytest.FixtureRequest) -> dict[str, str]:
    return dict(request.param)


@pytest.fixture(scope="session")
def project(
    answers: dict[str, str], template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A rendered project, committed. Tests only read it."""
    folder = tmp_path_factory.mktemp("project")
    run_copy(str(template), folder, answers, defaults=True, quiet=True, unsafe=False)
    commit(folder)
    return folder


def test_answers_arrive(copie: Copie, template: Path, answers: dict[str, str]) -> None:
    """Copier silently ignores unknown answers, so a test with a misspelt name would pass."""
    result = copie.copy(extra_answers=answers, template_dir=template)
    assert result.exception is None
    assert result.answers | answers == result.answers
    assert answers.keys() <= QUESTIONS


def test_a_project_passes_its_own_checks(
    answers: dict[str, str], template: Path, tmp_path: Path
) -> None:
    """`make format` changes nothing, and lint, types and tests with coverage pass."""
    run_copy(str(template), tmp_path, answers, defaults=True, quiet=True, unsafe=False)
    commit(tmp_path)
    make(tmp_path, "format")
    assert git(tmp_path, "status", "--porcelain") == ""
    make(tmp_path, "lint", "types", "coverage")
    assert git(tmp_path, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "dashed"),
    [
        ("a_", "a"),
        ("a__b", "a-b"),
        ("acme_cloud_", "acme-cloud"),
        ("x" * 40, "x" * 40),
        ("x" + "_" * 39, "x"),
        ("a_" * 20, "a-" * 19 + "a"),
    ],
)
def test_odd_names(template: Path, tmp_path: Path, name: str, dashed: str) -> None:
    """Names derived from the provider's name are valid in Kubernetes, images and packages."""
    answers = {"provider_name": name, "github_org": "acme"}
    run_copy(str(template), tmp_path, answers, defaults=True, quiet=True)
    kubernetes = list(names_of(tmp_path / "kubernetes"))
    assert f"{dashed}-small" in kubernetes
    for each in kubernetes:
        assert len(each) <= 63
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", each), each
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["name"] == canonicalize_name(project["name"], validate=True)
    assert project["name"] == f"machine-controller-manager-provider-{dashed}"
    assert list(project["scripts"]) == ["cmi", f"mcm-provider-{dashed}"]
    assert list(project["entry-points"]["cmi.plugin"]) == [f"{dashed}.acme"]
    image = re.search(r"^IMAGE := (.*)$", (tmp_path / "Makefile").read_text(), re.MULTILINE)
    assert image is not None
    assert image[1] == f"ghcr.io/acme/machine-controller-manager-provider-{dashed}"


def names_of(folder: Path) -> Iterator[str]:
    """Yield all names in the samples: those of objects, references and labels."""
    for path in folder.glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            yield from _names_in(document)


def _names_in(value: object) -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                if key == "name" and isinstance(inner, str) and "metadata" not in value:
                    yield inner.rpartition("/")[2].rpartition(":")[2]
                elif key in ("labels", "matchLabels"):
                    yield from (label for label in inner.values() if isinstance(label, str))
                yield from _names_in(inner)
        case list():
            for inner in value:
                yield from _names_in(inner)


def test_no_delimiter_is_left_over(project: Path) -> None:
    for path in files_of(project):
        text = path.read_text()
        for name, delimiter in DELIMITERS.items():
            assert delimiter not in text, f"{path} holds {delimiter} ({name})"


def test_plain_files_are_copied_byte_for_byte(project: Path, answers: dict[str, str]) -> None:
    copied = 0
    for source in files_of(ROOT):
        if not source.is_relative_to(TEMPLATE) or source.suffix == SUFFIX:
            continue
        path = source.relative_to(TEMPLATE).as_posix()
        target = project / path.replace("<<provider_name>>", answers["provider_name"])
        if target.exists():
            assert target.read_bytes() == source.read_bytes()
            copied += 1
    assert copied > 30


def test_no_trace_of_another_provider(project: Path, answers: dict[str, str]) -> None:
    mine = set(re.findall(r"[a-z0-9]+", " ".join(answers.values()).lower()))
    for path in files_of(project):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            traces = {found.lower() for found in OTHER_PROVIDERS.findall(line)} - mine
            assert not traces, f"{path}:{number}: {line}"


def check(folder: Path, tool: str, *arguments: str | Path) -> None:
    """Run a tool that is installed next to Python, and check that it succeeds."""
    result = subprocess.run(
        [Path(sys.executable).parent / tool, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def check_github_files(folder: Path) -> None:
    """Check the files for GitHub, and that the commit of every action is pinned."""
    workflows = sorted((folder / ".github/workflows").iterdir())
    check(folder, *SCHEMA, "vendor.github-workflows", *workflows)
    check(folder, *SCHEMA, "vendor.dependabot", ".github/dependabot.yml")
    check(folder, "zizmor", "--offline", "--quiet", ".github")
    actions = re.findall(r"uses: (\S+)", "\n".join(path.read_text() for path in workflows))
    assert len(actions) >= 7
    assert [action for action in actions if not PINNED.fullmatch(action)] == []


def test_our_own_configuration_is_valid() -> None:
    check_github_files(ROOT)
    check(ROOT, "hadolint", "bridge/Dockerfile")
    check(ROOT, "shellcheck", ".ci/run")


def test_the_samples_and_configuration_are_valid(project: Path) -> None:
    """The tools that check them belong to the programs that read them."""
    check(project, "hadolint", "Dockerfile")
    for name in ("secret.yaml", "persistent-volumes.yaml"):
        check(project, "kubernetes-validate", "--strict", f"kubernetes/{name}")
    for path in sorted((project / "kubernetes/deploy").rglob("*.yaml")):
        if path.name == "kustomization.yaml":
            for resource in yaml.safe_load(path.read_text()).get("resources", []):
                assert (path.parent / resource).exists()
        elif path.parent.name != "prometheus-operator":  # e2e/test_monitoring.py checks these
            check(project, "kubernetes-validate", "--strict", path)
    if (project / ".ci").exists():
        check(project, "shellcheck", *(project / ".ci").iterdir())
    if (project / ".github").exists():
        check_github_files(project)
    if (project / ".gitlab-ci.yml").exists():
        check(project, *SCHEMA, "vendor.gitlab-ci", ".gitlab-ci.yml")


def test_a_commit_is_checked_before_it_is_made(installed: Path, tmp_path: Path) -> None:
    """The rendered hooks check style, types, and whether conflicts are left."""
    project = shutil.copytree(installed, tmp_path / "project", symlinks=True)
    commit(project)
    commit_checks = [sys.executable, "-m", "pre_commit", "run", "--all-files"]

    def checked() -> str:
        result = subprocess.run(
            commit_checks, cwd=project, capture_output=True, text=True, check=False
        )
        return "" if result.returncode == 0 else result.stdout

    assert checked() == ""
    for name, line, hook in (
        ("README.md", "<<<<<<< before updating", "conflicts"),
        ("acme/cloud.py", "import os", "make lint"),
        ("acme/cloud.py", "NUMBER: int = 'one'", "make types"),
    ):
        with (project / name).open("a") as file:
            file.write(f"{line}\n")
        git(project, "add", name)
        assert re.search(rf"{hook}.*Failed", checked()), hook
        git(project, "reset", "--quiet", "--hard")
