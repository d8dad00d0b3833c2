"""The files under template/, checked in place before they are rendered."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from copier import run_copy
from jinja2 import Environment, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables

from cmi.version import VERSION
from scripts.release import STAMPED
from tests.support import (
    ANSWERS,
    DELIMITERS,
    QUESTIONS,
    ROOT,
    SETTINGS,
    SUFFIX,
    TEMPLATE,
    commit,
    files_of,
    git,
    link,
    make,
)

NAMES = [path.relative_to(TEMPLATE).as_posix() for path in files_of(TEMPLATE) if path.exists()]

CACHES = shutil.ignore_patterns("__pycache__")
"""Where other tests write while these copy."""

JUNK = (
    ".DS_Store",
    ".git/config",
    ".idea/x.xml",
    ".mypy_cache/x",
    ".pytest_cache/x",
    ".ruff_cache/x",
    ".venv/bin/python",
    ".vscode/settings.json",
    "__pycache__/x.cpython-311.pyc",
    "cmi/.server.py.swp",
    "cmi/__pycache__/x.cpython-311.pyc",
    "cmi/server.py~",
    "driver.egg-info/PKG-INFO",
    "x.pyc",
)


def complaints(text: str) -> list[str]:
    """Return the mistakes in a text that copier will render.

    Text that only looks like a delimiter (a shift, a heredoc, a merge key) would get lost. To find
    it, every variable must be an answer, no comment may span lines, and no delimiter may be left.
    """
    environment = Environment(**DELIMITERS)
    environment.filters |= {"combine": dict, "to_nice_yaml": str}  # copier's own filters
    found: list[str] = []
    expressions: list[list[str]] = []
    try:
        environment.parse(text)
        for line, kind, part in environment.lex(text):
            if kind == "variable_begin":
                expressions.append([])
            elif kind == "comment" and "\n" in part:
                found.append(f"line {line}: a comment spans lines")
            elif kind == "data":
                found += [
                    f"line {line}: {mark} is no delimiter here"
                    for mark in DELIMITERS.values()
                    if mark in part
                ]
            elif expressions:
                expressions[-1].append(part)
        for tokens in expressions:
            expression = "".join(tokens).partition(DELIMITERS["variable_end_string"])[0]
            used = find_undeclared_variables(environment.parse(f"<<{expression}>>"))
            if not used or used - QUESTIONS - {"_copier_answers", "source"}:
                found.append(f"<<{expression}>> names no answer, or something else")
    except TemplateSyntaxError as error:
        found.append(f"line {error.lineno}: {error.message}")
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(SUFFIX)])
def test_delimiters_delimit(name: str) -> None:
    assert complaints((TEMPLATE / name).read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("cat <<EOF\n<< provider_name >>\nEOF\n", id="heredoc"),
        pytest.param("cat <<'EOF'\nx\nEOF\necho done >>log\n", id="heredoc-and-append"),
        pytest.param("echo x >> log # << provider_name >>", id="append"),
        pytest.param("size = 1 << 3 >> 1", id="shifts"),
        pytest.param("size = 1 << bits", id="shift"),
        pytest.param("job:\n  <<: *base\n", id="merge-key"),
        pytest.param("job:\n  <<: *base\n  <<: *other\n  x: y >> z\n", id="merge-keys"),
        pytest.param("<< provider_nmae >>", id="misspelt"),
        pytest.param("<< provider_name", id="not-closed"),
        pytest.param("<% if ci %>x", id="no-end"),
        pytest.param("<div <% endif %>", id="no-beginning"),
        pytest.param("a <# comment\nthat eats a line #> b", id="long-comment"),
        pytest.param("100 %> 50", id="stray-end"),
    ],
)
def test_what_delimiters_would_eat_is_found(text: str) -> None:
    assert complaints(text) != []


def test_a_suffix_means_a_variable() -> None:
    for name in NAMES:
        text = (TEMPLATE / name).read_text()
        holds = any(delimiter in text for delimiter in DELIMITERS.values())
        assert holds == name.endswith(SUFFIX), name
        assert not name.endswith(f".py{SUFFIX}"), name


def test_names_are_legal_on_linux_and_macos() -> None:
    """They also work where case does not matter, and on file systems that limit their length."""
    assert len({name.lower() for name in NAMES}) == len(NAMES)
    for name in NAMES:
        assert re.fullmatch(r"[A-Za-z0-9._<>/-]+", name), name
        assert all(len(part) < 200 for part in name.split("/")), name
        assert set(re.findall("<<(.*?)>>", name)) <= {"provider_name", "_copier_conf.answers_file"}


def test_nothing_is_conditional_by_its_name() -> None:
    assert not any("<%" in name for name in NAMES)


def test_caches_and_editors_files_are_not_rendered(tmp_path: Path) -> None:
    """This renders a folder that somebody works in, where git does not exclude these files."""
    for part in ("includes", "template"):
        shutil.copytree(ROOT / part, tmp_path / "template" / part, ignore=CACHES)
    shutil.copy(ROOT / "copier.yml", tmp_path / "template")
    for name in JUNK:
        path = tmp_path / "template/template" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("junk\n")
    run_copy(str(tmp_path / "template"), tmp_path / "project", ANSWERS, defaults=True, quiet=True)
    expected = {
        name.removesuffix(SUFFIX)
        .replace("<<provider_name>>", "acme")
        .replace("<<_copier_conf.answers_file>>", ".copier-answers.yml")
        for name in NAMES
    }
    files = (path for path in (tmp_path / "project").rglob("*") if not path.is_dir())
    rendered = {path.relative_to(tmp_path / "project").as_posix() for path in files}
    others = {".gitlab-ci.yml", "LICENSES/MIT.txt", "LICENSES/LicenseRef-AllRightsReserved.txt"}
    assert rendered == expected - others


def test_settings_never_need_trust() -> None:
    """If a release needs it, every later update needs it too."""
    assert SETTINGS.keys().isdisjoint({"_tasks", "_migrations", "_jinja_extensions"})


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text_of(name), re.MULTILINE))


PYPROJECT = text_of("template/pyproject.toml.jinja")


class TestVersionsAgree:
    PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")

    def test_python(self) -> None:
        """All places name the oldest version, and CI runs all versions."""
        oldest = self.PYTHONS[0]
        project = re.search(r'^requires-python = ">=(.+)"$', PYPROJECT, re.MULTILINE)
        assert project is not None
        assert project[1] == oldest
        assert f"py{oldest.replace('.', '')}" in text_of("template/ruff.toml")
        makefile = text_of("template/.template/environments.mk")
        assert f"--python-version {oldest} " in makefile
        assert f"sys.version_info < ({oldest.replace('.', ', ')})" in makefile
        assert f"is not Python {oldest} or newer" in makefile
        for name in ("README.md", "template/README.md.jinja"):
            assert f"Python {oldest} or newer" in text_of(name)
        classifiers = re.findall(
            r'^  "Programming Language :: Python :: (3\..+)",$', PYPROJECT, re.MULTILINE
        )
        assert classifiers == list(self.PYTHONS)
        ours = yaml.safe_load(text_of(".github/workflows/ci.yml"))
        assert ours["jobs"]["test"]["strategy"]["matrix"]["python"] == list(self.PYTHONS)
        github = yaml.safe_load(text_of("template/.github/workflows/ci.yml"))
        assert github["jobs"]["check"]["strategy"]["matrix"]["python"] == list(self.PYTHONS)
        gitlab = yaml.safe_load(text_of("template/.gitlab-ci.yml"))
        assert gitlab["check"]["parallel"]["matrix"] == [{"PYTHON_VERSION": list(self.PYTHONS)}]
        dockerfile = text_of("template/Dockerfile.jinja")
        images = set(re.findall(r"^FROM python:(\S+?)-slim", dockerfile, re.MULTILINE))
        assert len(images) == 1
        assert images <= set(self.PYTHONS)
        release = text_of("template/.github/workflows/release.yml")
        assert set(re.findall(r'python-version: "(.*)"', release)) == images

    def test_machine_controller_manager(self) -> None:
        """The deployment and the benchmark use the version that the bridge is built with."""
        required = r"gardener/machine-controller-manager (v\S+)"
        (version,) = re.findall(required, text_of("bridge/go.mod"))
        assert re.findall(required, text_of("bench/mcm/go/go.mod")) == [version]
        deployed = yaml.safe_load(
            text_of("template/kubernetes/deploy/kustomization.yaml.jinja").replace("<<", "")
        )["images"]
        tags = {image["name"]: image["newTag"] for image in deployed}
        assert tags["machine-controller-manager"] == version
        image = subprocess.run(
            ["make", "--silent", "-C", "bridge", "image-name"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert image == f"cmi-bridge:{tags['bridge']}\n"
        assert image.endswith(f"-mcm{version.removeprefix('v')}\n")

    def test_ours(self) -> None:
        """Template, framework and bridge have the same version, which `make release` writes."""
        for name, where in STAMPED.items():
            assert re.findall(where, text_of(name), re.MULTILINE) == [VERSION], name

    def test_copier(self) -> None:
        oldest = SETTINGS["_min_copier_version"].removesuffix(".0")
        bound = f"copier>={oldest}"
        assert bound in tomllib.loads(text_of("pyproject.toml"))["dependency-groups"]["check"]
        assert f'copier = ["{bound}"]' in PYPROJECT

    def test_dependencies(self) -> None:
        """The wheel with the kit requires the same packages as a rendered project, and pytest."""
        ours = tomllib.loads(text_of("pyproject.toml"))["project"]["dependencies"]
        framework = PYPROJECT.partition("# Dependencies of the framework.")[2].partition("# Yours")[
            0
        ]
        theirs = re.findall(r'"(.+)"', framework)
        assert ours == [*theirs, *re.findall(r'"(pytest>=.+)"', PYPROJECT)]

    def test_pins(self) -> None:
        """The framework is tested here with the same versions that rendered projects pin."""
        ours = pins("requirements/dev.txt")
        for name in ("run", "dev", "build", "copier"):
            assert pins(f"template/requirements/{name}.txt").items() <= ours.items()


def test_locks_are_those_of_their_sources(template: Path, tmp_path: Path) -> None:
    """Generating the locks again from pyproject.toml changes nothing."""
    run_copy(str(template), tmp_path, ANSWERS, defaults=True, quiet=True)
    commit(tmp_path)
    make(tmp_path, "lock")
    assert git(tmp_path, "status", "--porcelain") == ""


def test_stubs_are_those_of_the_contract(tmp_path: Path) -> None:
    link(ROOT, tmp_path, "template")
    shutil.copytree(TEMPLATE / "cmi/v1", tmp_path / "template/cmi/v1", ignore=CACHES)
    for name in (".template", "requirements"):
        (tmp_path / "template" / name).symlink_to(TEMPLATE / name)
    make(tmp_path, "stubs")
    for path in (TEMPLATE / "cmi/v1").glob("cmi_pb2*"):
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("makefile", ["Makefile", "bridge/Makefile", "template/Makefile.jinja"])
def test_the_help_of_make_fits_a_terminal_of_80_columns(makefile: str) -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## (.*)$", (ROOT / makefile).read_text(), re.MULTILINE)
    (width,) = re.findall(r"make %-(\d+)s", (ROOT / makefile).read_text())
    assert max(len(name) for name, _ in targets) <= int(width)
    assert [text for _, text in targets if len("  make ") + int(width) + 1 + len(text) > 80] == []
