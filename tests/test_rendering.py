"""What is rendered: complete, clean, and passing the checks that it brings along."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copier import run_copy
from jinja2 import Environment
from jinja2.meta import find_undeclared_variables
from pytest_copie.plugin import Copie

from tests.support import ROOT, commit, files_of, git, make

TEMPLATE = ROOT / "template"
SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text())
QUESTIONS = {name for name in SETTINGS if not name.startswith("_")}
DELIMITERS = {key: text for key, text in SETTINGS["_envops"].items() if key.endswith("_string")}
SUFFIX = SETTINGS["_templates_suffix"]

# Every value of every choice is among them, and titles and names of every shape.
PROJECTS = {
    "aws": {"provider_name": "aws", "provider_title": "AWS"},
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
    """An unknown question is ignored in silence, and the test that asked it stays green."""
    result = copie.copy(extra_answers=answers, template_dir=template)
    assert result.exception is None
    assert result.answers | answers == result.answers
    assert answers.keys() <= QUESTIONS


def test_a_project_passes_its_own_checks(
    answers: dict[str, str], template: Path, tmp_path: Path
) -> None:
    """It is rendered as `make format` leaves it, and lint, types and tests are clean."""
    run_copy(str(template), tmp_path, answers, defaults=True, quiet=True, unsafe=False)
    commit(tmp_path)
    make(tmp_path, "format")
    assert git(tmp_path, "status", "--porcelain") == ""
    make(tmp_path, "lint", "types", "test")
    assert git(tmp_path, "status", "--porcelain") == ""


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


@pytest.mark.parametrize(
    "path",
    sorted(path.relative_to(TEMPLATE).as_posix() for path in TEMPLATE.rglob(f"*{SUFFIX}")),
)
def test_every_variable_names_an_answer(path: str) -> None:
    """Nothing that looks like a delimiter, a shift or a heredoc say, is eaten as one."""
    environment = Environment(**DELIMITERS)
    expressions: list[list[str]] = []
    for _, kind, text in environment.lex((TEMPLATE / path).read_text()):
        if kind == "variable_begin":
            expressions.append([])
        elif kind != "data" and expressions:
            expressions[-1].append(text)
    environment.filters["to_nice_yaml"] = str  # copier's own
    for tokens in expressions:
        expression = "".join(tokens).partition(DELIMITERS["variable_end_string"])[0]
        used = find_undeclared_variables(environment.parse(f"<<{expression}>>"))
        assert used, f"<<{expression}>>"
        assert used <= QUESTIONS | {"_copier_answers"}


def test_a_suffix_means_a_variable() -> None:
    for path in files_of(TEMPLATE):
        holds = any(delimiter in path.read_text() for delimiter in DELIMITERS.values())
        assert holds == (path.suffix == SUFFIX), path
        assert path.suffixes[-2:] != [".py", SUFFIX], path


def test_no_trace_of_another_provider(project: Path, answers: dict[str, str]) -> None:
    mine = set(re.findall(r"[a-z0-9]+", " ".join(answers.values()).lower()))
    for path in files_of(project):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            traces = {found.lower() for found in OTHER_PROVIDERS.findall(line)} - mine
            assert not traces, f"{path}:{number}: {line}"


def test_the_samples_and_configuration_are_valid(project: Path) -> None:
    """Checked by the tools of those who read them."""
    tools = Path(sys.executable).parent

    def check(tool: str, *arguments: str | Path) -> None:
        result = subprocess.run(
            [tools / tool, *arguments], cwd=project, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr

    check("hadolint", "Dockerfile")
    for name in ("secret.yaml", "persistent-volumes.yaml"):
        check("kubernetes-validate", "--strict", f"kubernetes/{name}")
    if (project / ".github").exists():
        workflow = ".github/workflows/ci.yml"
        check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)
        check("zizmor", "--offline", "--quiet", ".github")
    if (project / ".gitlab-ci.yml").exists():
        check("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml")
