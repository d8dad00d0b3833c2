"""The questions in copier.yml, the answers that it accepts and refuses, and its final message.

Most tests use a stand-in: the real copier.yml and includes/ with a template of a few files.
The last ones render the template in the working tree.
"""

import keyword
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from tests.support import COPIER, ROOT, SETTINGS, copy_repository, git
from tests.terminal import converse

REQUIRED = {"provider_name": "aws", "github_org": "my-company"}
HIDDEN = sorted(
    name
    for name, question in SETTINGS.items()
    if not name.startswith("_") and "help" not in question and name != "package"
)
"""Answers that follow from other answers. They are neither asked for nor recorded."""
PLUGIN_NAME = re.compile(r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?")  # conformance item C2
PACKAGE = ROOT / "template" / "<<provider_name>>"
TO_FILL_IN = ("apis/provider_spec.py", "cloud.py", "tests")

DEFAULTS = {
    "provider_name": "aws",
    "provider_title": "Aws",
    "github_org": "my-company",
    "repository_name": "machine-controller-manager-provider-aws",
    "license": "Apache-2.0",
    "ci": "github",
    "image_repository": "ghcr.io/my-company/machine-controller-manager-provider-aws",
    "package": "aws",
}

ACCEPTED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "only-the-name": ({}, DEFAULTS),
    "name-of-one-letter": ({"provider_name": "a"}, {"provider_title": "A"}),
    "name-with-underscore": (
        {"provider_name": "my_cloud"},
        {
            "provider_title": "MyCloud",
            "repository_name": "machine-controller-manager-provider-my-cloud",
        },
    ),
    "name-with-digits": ({"provider_name": "cloud9"}, {"provider_title": "Cloud9"}),
    "name-ends-in-underscores": (
        {"provider_name": "aws__"},
        {"repository_name": "machine-controller-manager-provider-aws"},
    ),
    "name-of-40": (
        {"provider_name": "a" * 40},
        {"repository_name": f"machine-controller-manager-provider-{'a' * 40}"},
    ),
    "name-begins-like-a-reserved-one": ({"provider_name": "azure_cloud"}, {}),
    "gcp": ({"provider_name": "gcp"}, {}),
    "ionos": ({"provider_name": "ionos"}, {}),
    "title-in-capitals": ({"provider_title": "AWS"}, {}),
    "title-with-spaces": ({"provider_title": "Google Cloud 2.0 + A&B - C"}, {}),
    "title-in-another-script": ({"provider_title": "Облако"}, {}),
    "title-with-combining-marks": ({"provider_title": "क्लाउड"}, {}),
    "title-begins-with-a-digit": ({"provider_title": "3scale"}, {}),
    "title-of-60": ({"provider_title": "x" * 60}, {}),
    "org-keeps-its-case": (
        {"github_org": "SAP-samples"},
        {"image_repository": "ghcr.io/sap-samples/machine-controller-manager-provider-aws"},
    ),
    "org-of-one": ({"github_org": "x"}, {}),
    "org-of-39": ({"github_org": "a-" * 19 + "a"}, {}),
    "repository-with-dots": (
        {"repository_name": "MCM.aws_driver"},
        {"image_repository": "ghcr.io/my-company/mcm.aws_driver"},
    ),
    "repository-with-runs-that-no-image-may-have": (
        {"repository_name": "mcm._.aws"},
        {"image_repository": "ghcr.io/my-company/mcm-aws"},
    ),
    "repository-of-100": ({"repository_name": "r" * 100}, {}),
    "license-mit": ({"license": "MIT"}, {}),
    "license-none": ({"license": "none"}, {}),
    "ci-gitlab": (
        {"ci": "gitlab"},
        {"image_repository": f"registry.gitlab.com/my-company/{DEFAULTS['repository_name']}"},
    ),
    "ci-none": ({"ci": "none"}, {}),
    "image-with-port": ({"image_repository": "registry:5000/aws"}, {}),
    "image-on-localhost": ({"image_repository": "localhost/aws"}, {}),
    "image-in-folders": ({"image_repository": "eu.gcr.io:443/a/b__c/d.e-f--g/h"}, {}),
}

# The refused answers, and the valid ones that the messages suggest.
REFUSED: dict[str, tuple[str, str, str]] = {
    "name-empty": ("provider_name", "", "my_cloud"),
    "name-in-capitals": ("provider_name", "AWS", "aws"),
    "name-in-camel-case": ("provider_name", "AmazonWebServices", "amazon_web_services"),
    "name-with-dash": ("provider_name", "my-cloud", "my_cloud"),
    "name-with-dot": ("provider_name", "my.cloud", "my_cloud"),
    "name-begins-with-digit": ("provider_name", "9cloud", "cloud"),
    "name-begins-with-underscore": ("provider_name", "_aws", "aws"),
    "name-not-ascii": ("provider_name", "облако", "my_cloud"),
    "name-with-newline": ("provider_name", "aws\n", "aws"),
    "name-with-path": ("provider_name", "../aws", "aws"),
    "name-of-41": ("provider_name", "a" * 41, "a" * 40),
    "name-malformed-and-reserved": ("provider_name", "Azure", "azure_cloud"),
    "name-keyword": ("provider_name", "class", "class_cloud"),
    "name-soft-keyword": ("provider_name", "match", "match_cloud"),
    "name-stdlib": ("provider_name", "platform", "platform_cloud"),
    "name-stdlib-of-3.11": ("provider_name", "distutils", "distutils_cloud"),
    "name-soft-keyword-of-3.15": ("provider_name", "lazy", "lazy_cloud"),
    "name-stdlib-of-3.15": ("provider_name", "profiling", "profiling_cloud"),
    "name-stdlib-of-3.14": ("provider_name", "annotationlib", "annotationlib_cloud"),
    "name-yaml": ("provider_name", "yes", "yes_cloud"),
    "name-dependency": ("provider_name", "google", "google_cloud"),
    "name-framework": ("provider_name", "cmi", "cmi_cloud"),
    "name-folder": ("provider_name", "kubernetes", "kubernetes_cloud"),
    "name-sdk": ("provider_name", "openstack", "openstack_cloud"),
    "title-empty": ("provider_title", "", "Aws"),
    "title-begins-with-space": ("provider_title", " AWS", "Aws"),
    "title-ends-with-space": ("provider_title", "AWS ", "Aws"),
    "title-begins-with-dash": ("provider_title", "- AWS", "Aws"),
    "title-with-quote": ("provider_title", 'A"WS', "Aws"),
    "title-with-colon": ("provider_title", "Cloud: AWS", "Aws"),
    "title-with-hash": ("provider_title", "Cloud #1", "Aws"),
    "title-with-underscore": ("provider_title", "my_cloud_", "Aws"),
    "title-with-markdown": ("provider_title", "A*W*S", "Aws"),
    "title-with-html": ("provider_title", "A<b>", "Aws"),
    "title-with-backslash": ("provider_title", "A\\nWS", "Aws"),
    "title-with-newline": ("provider_title", "A\nWS", "Aws"),
    "title-with-tab": ("provider_title", "A\tWS", "Aws"),
    "title-with-bidi-control": ("provider_title", "A\u202eWS", "Aws"),
    "title-of-61": ("provider_title", "x" * 61, "Aws"),
    "org-empty": ("github_org", "", "my-company"),
    "org-begins-with-hyphen": ("github_org", "-acme", "acme"),
    "org-ends-with-hyphen": ("github_org", "acme-", "acme"),
    "org-with-two-hyphens": ("github_org", "ac--me", "ac-me"),
    "org-with-underscore": ("github_org", "My_Org", "My-Org"),
    "org-with-slash": ("github_org", "acme/cloud", "acme-cloud"),
    "org-of-40": ("github_org", "a" * 40, "a" * 39),
    "repository-empty": ("repository_name", "", DEFAULTS["repository_name"]),
    "repository-with-space": ("repository_name", "my repo", DEFAULTS["repository_name"]),
    "repository-with-owner": ("repository_name", "acme/repo", DEFAULTS["repository_name"]),
    "repository-begins-with-dot": ("repository_name", ".github", DEFAULTS["repository_name"]),
    "repository-ends-with-dash": ("repository_name", "repo-", DEFAULTS["repository_name"]),
    "repository-ends-in-git": ("repository_name", "repo.git", DEFAULTS["repository_name"]),
    "repository-of-101": ("repository_name", "r" * 101, DEFAULTS["repository_name"]),
    "image-empty": ("image_repository", "", DEFAULTS["image_repository"]),
    "image-in-capitals": ("image_repository", "ghcr.io/Acme/x", DEFAULTS["image_repository"]),
    "image-with-tag": ("image_repository", "ghcr.io/acme/x:1.0", DEFAULTS["image_repository"]),
    "image-with-digest": (
        "image_repository",
        f"ghcr.io/acme/x@sha256:{'0' * 64}",
        DEFAULTS["image_repository"],
    ),
    "image-without-host": ("image_repository", "acme/x", DEFAULTS["image_repository"]),
    "image-without-path": ("image_repository", "ghcr.io", DEFAULTS["image_repository"]),
    "image-with-scheme": (
        "image_repository",
        "https://ghcr.io/acme/x",
        DEFAULTS["image_repository"],
    ),
    "image-with-empty-folder": (
        "image_repository",
        "ghcr.io//x",
        DEFAULTS["image_repository"],
    ),
    "image-with-mixed-run": (
        "image_repository",
        "ghcr.io/acme/a._b",
        DEFAULTS["image_repository"],
    ),
    "image-of-256": (
        "image_repository",
        f"ghcr.io/{'x' * 248}",
        DEFAULTS["image_repository"],
    ),
}

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory, surroundings: None) -> Path:
    """The questions, with a template that is small enough to be rendered a hundred times."""
    folder = copy_repository(tmp_path_factory.mktemp("questions"), template=False)
    (folder / "template").mkdir()
    for name in ("LICENSE.jinja", "<<_copier_conf.answers_file>>.jinja"):
        shutil.copy(ROOT / "template" / name, folder / "template")
    for name in HIDDEN:
        (folder / f"template/{name}.jinja").write_text(f"<< {name} >>")
    return folder


@pytest.fixture(scope="session")
def jinja(questions: Path) -> Environment:
    """The Jinja environment in which copier renders the questions."""
    data = REQUIRED
    worker = copier.run_copy(
        str(questions), questions / "out", data, defaults=True, quiet=True, pretend=True
    )
    return worker.jinja_env


@pytest.fixture
def ask(questions: Path, tmp_path: Path) -> Ask:
    """A function that gives copier some answers and returns the resulting ones."""

    def _ask(**given: str) -> dict[str, Any]:
        data = REQUIRED | given
        worker = copier.run_copy(
            str(questions), tmp_path / "out", data, defaults=True, quiet=True, pretend=True
        )
        return dict(worker.answers.combined)

    return _ask


def render(source: Path, target: Path, **data: str) -> Path:
    copier.run_copy(
        str(source), target, data, defaults=True, quiet=True, unsafe=False, vcs_ref="HEAD"
    )
    return target


def run(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the copier command without a terminal."""
    return subprocess.run(
        [*COPIER, *args],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def answers_of(project: Path) -> dict[str, str]:
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return {name: value for name, value in answers.items() if not name.startswith("_")}


@pytest.mark.parametrize(("given", "expected"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(ask: Ask, given: dict[str, str], expected: dict[str, str]) -> None:
    answers = ask(**given)
    wanted = given | expected
    assert {name: answers[name] for name in wanted} == wanted


@pytest.mark.parametrize(("question", "value", "good"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(ask: Ask, question: str, value: str, good: str) -> None:
    with pytest.raises(ValueError, match=f"^Validation error for question '{question}': ") as error:
        ask(**{question: value})
    assert str(error.value).endswith(f"; try '{good}'")
    assert "\n" not in str(error.value)
    assert ask(**{question: good})[question] == good


@pytest.mark.parametrize(("question", "value"), [("license", "GPL-3.0"), ("ci", "jenkins")])
def test_refused_choice(ask: Ask, question: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"Invalid choice for '{question}': '{value}'") as error:
        ask(**{question: value})
    shown = re.findall(r"'([^']+)'", str(error.value).partition(" is not in ")[2])
    assert len(shown) == 3
    assert [ask(**{question: good})[question] for good in shown] == shown


@pytest.fixture
def reserved(jinja: Environment) -> list[str]:
    groups = vars(jinja.get_template("includes/reserved_names.jinja").module)["reserved"]
    return [name for names in groups.values() for name in names.split()]


class TestReservedNames:
    def test_every_one_is_refused_with_a_good_proposal(
        self, jinja: Environment, reserved: list[str]
    ) -> None:
        validator = jinja.get_template("includes/provider_name.jinja")

        def complaint(name: str) -> str:
            return str(validator.render(provider_name=name)).strip()

        for name in reserved:
            assert complaint(name).endswith(f"; try '{name}_cloud'")
            assert complaint(f"{name}_cloud") == ""

    def test_none_is_named_twice(self, reserved: list[str]) -> None:
        assert sorted(set(reserved)) == sorted(reserved)

    @pytest.mark.parametrize(
        "names",
        [
            pytest.param([*keyword.kwlist, *keyword.softkwlist], id="keywords"),
            pytest.param(sys.stdlib_module_names, id="stdlib"),
            pytest.param(["azure", "boto3", "google", "grpc", "openstack", "yaml"], id="packages"),
            pytest.param(
                [path.name.removesuffix(".jinja").lower() for path in ROOT.glob("template/*")],
                id="root-of-the-project",
            ),
        ],
    )
    def test_what_must_be_among_them(self, reserved: list[str], names: list[str]) -> None:
        assert {name for name in names if re.fullmatch(r"[a-z][a-z0-9_]*", name)} <= set(reserved)


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(
    provider_name=st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True),
    github_org=st.from_regex(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,38}", fullmatch=True),
    repository_name=st.none()
    | st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", fullmatch=True),
)
def test_defaults_are_acceptable_whatever_the_answers(
    questions: Path,
    jinja: Environment,
    provider_name: str,
    github_org: str,
    repository_name: str | None,
) -> None:
    validator = jinja.get_template("includes/provider_name.jinja")
    assume(not validator.render(provider_name=provider_name).strip())
    assume(len(github_org) <= 39)
    data = {"provider_name": provider_name, "github_org": github_org}
    if repository_name is not None:
        assume(not repository_name.lower().endswith(".git"))
        data["repository_name"] = repository_name
    worker = copier.run_copy(
        str(questions), questions / "out", data, defaults=True, quiet=True, pretend=True
    )
    plugin_name = worker.answers.combined["plugin_name"]
    assert PLUGIN_NAME.fullmatch(plugin_name)
    assert len(plugin_name) <= 63
    assert re.fullmatch(r"[a-z]([a-z0-9]|-(?=[a-z0-9]))*", worker.answers.combined["dashed_name"])


@pytest.mark.parametrize(
    ("provider_name", "github_org", "plugin_name"),
    [
        pytest.param("my_cloud", "Acme", "my-cloud.Acme", id="plain"),
        pytest.param("a", "b", "a.b", id="shortest"),
        pytest.param("a" * 40, "b" * 39, f"{'a' * 40}.{'b' * 22}", id="longest"),
        pytest.param("a" * 40, "b" * 21 + "-cd", f"{'a' * 40}.{'b' * 21}", id="cut-at-a-hyphen"),
        pytest.param("a" + "_" * 39, "b" * 39, f"a.{'b' * 39}", id="underscores-at-the-end"),
    ],
)
def test_plugin_name(
    questions: Path, tmp_path: Path, provider_name: str, github_org: str, plugin_name: str
) -> None:
    project = render(questions, tmp_path, provider_name=provider_name, github_org=github_org)
    assert (project / "plugin_name").read_text() == plugin_name


@pytest.mark.parametrize("name", HIDDEN)
def test_an_answer_that_nobody_is_asked(ask: Ask, name: str) -> None:
    """Such an answer follows from the others. If it is given anyway, it must be the derived one."""
    derived = ask()[name]
    assert ask(**{name: derived})[name] == derived
    for wrong in ('x"\n[tool.evil]', f"{derived}\n", f"{derived}x", ""):
        with pytest.raises(ValueError, match=f"'{name}': leave it out; it is '.*'$") as error:
            ask(**{name: wrong})
        assert derived in str(error.value)


def test_the_package_follows_from_the_name(ask: Ask) -> None:
    assert ask(package="aws")["package"] == "aws"
    with pytest.raises(ValueError, match="under another name, the project") as error:
        ask(package='x"\n[tool.evil]')
    assert "\n" not in str(error.value)


def test_only_what_is_asked_is_recorded(questions: Path, tmp_path: Path) -> None:
    assert answers_of(render(questions, tmp_path, **REQUIRED)).keys() == DEFAULTS.keys()


TYPED = {
    "provider_name": "my_cloud",
    "provider_title": "My CLOUD",
    "github_org": "Acme",
    "repository_name": "mcm-my-cloud",
    "license": "MIT",
    "ci": "gitlab",
}
DERIVED = {
    "image_repository": "registry.gitlab.com/acme/mcm-my-cloud",
    "package": "my_cloud",
}


class TestWaysToAnswer:
    """Answers may be typed, given as options or read from a file, with the same result."""

    def test_command_line(self, questions: Path, tmp_path: Path) -> None:
        data = [f"--data={name}={value}" for name, value in TYPED.items()]
        result = run("copy", "--defaults", *data, questions, "out", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert answers_of(tmp_path / "out") == TYPED | DERIVED

    def test_command_line_with_what_is_required(self, questions: Path, tmp_path: Path) -> None:
        data = [f"--data={name}={value}" for name, value in REQUIRED.items()]
        result = run("copy", "--defaults", *data, questions, ".", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert answers_of(tmp_path) == DEFAULTS

    def test_answers_file(self, questions: Path, tmp_path: Path) -> None:
        (tmp_path / "answers.yml").write_text(yaml.safe_dump(TYPED))
        result = run(
            "copy", "--defaults", "--data-file=answers.yml", questions, "out", cwd=tmp_path
        )
        assert result.returncode == 0, result.stderr
        assert answers_of(tmp_path / "out") == TYPED | DERIVED

    def test_terminal(self, questions: Path, tmp_path: Path) -> None:
        """In 80 columns, only the beginning of an error message is visible."""
        erase, enter, down = "\x15", "\r", "\x1b[B"
        dialogue = [
            ("Example: aws", f"azure{enter}"),
            ("SDK's name; try 'azure_cloud'", f"{erase}my_cloud{enter}"),
            ("Example: AmazonWebServices", f"{erase}My CLOUD{enter}"),
            ("Example: my-company", f"My_Org{enter}"),
            ("bad owner name; try 'My-Org'", f"{erase}Acme{enter}"),
            ("machine-controller-manager-provider-my-cloud", f"{erase}mcm-my-cloud{enter}"),
            ("Example: Apache-2.0", f"{down}{enter}"),
            ("Example: github", f"{down}{enter}"),
            ("registry.gitlab.com/acme/mcm-my-cloud", enter),
        ]
        converse([*COPIER, "copy", str(questions), "out"], tmp_path, os.environ, dialogue)
        assert answers_of(tmp_path / "out") == TYPED | DERIVED

    @pytest.mark.parametrize("missing", REQUIRED)
    def test_missing_answer(self, questions: Path, tmp_path: Path, missing: str) -> None:
        data = [f"--data={name}={REQUIRED[name]}" for name in REQUIRED if name != missing]
        result = run("copy", "--defaults", *data, questions, "out", cwd=tmp_path)
        assert result.returncode == 1
        assert f"parameter '{missing}' was not provided" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()

    def test_refused_name(self, questions: Path, tmp_path: Path) -> None:
        """Copier prints a traceback here, whose last line is the message of the template."""
        result = run(
            "copy", "--defaults", "-d", "provider_name=AWS", questions, "out", cwd=tmp_path
        )
        assert result.returncode != 0
        assert result.stderr.splitlines()[-1].endswith("not just a-z, 0-9, _; try 'aws'")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("license_", "ci"), [("Apache-2.0", "github"), ("MIT", "gitlab"), ("none", "none")]
)
def test_choices_show_in_the_project(
    template: Path, tmp_path: Path, license_: str, ci: str
) -> None:
    data = REQUIRED | {"license": license_, "ci": ci}
    project = render(template, tmp_path / "out", **data)
    image = {"image_repository": ACCEPTED["ci-gitlab"][1]["image_repository"]}
    expected = DEFAULTS | {"license": license_, "ci": ci} | (image if ci == "gitlab" else {})
    assert answers_of(project) == expected
    assert (project / ".github").exists() == (ci == "github")
    assert (project / ".gitlab-ci.yml").exists() == (ci == "gitlab")
    match license_:
        case "Apache-2.0":  # word for word as on apache.org
            digest = sha256((project / "LICENSE").read_bytes()).hexdigest()
            assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
        case "MIT":
            head, _, rest = (project / "LICENSE").read_text().partition(" authors\n")
            assert head == f"MIT License\n\nCopyright (c) The {DEFAULTS['repository_name']}"
            assert "Permission is hereby granted, free of charge" in rest
        case _:
            assert not (project / "LICENSE").exists()


def commands(message: str, last: str) -> str:
    """Return the indented lines of a message that come before the one that begins with `last`."""
    lines = [line.strip() for line in message.splitlines() if line.startswith("  ")]
    start = next(i for i, line in enumerate(lines) if line.startswith(("cd ", "git ")))
    stop = next(i for i, line in enumerate(lines) if line.startswith(last))
    return "\n".join(lines[start:stop])


@pytest.mark.parametrize(
    ("ci", "folder", "host"),
    [
        pytest.param("gitlab", "my project", "gitlab.com", id="folder-to-quote-on-gitlab"),
        pytest.param("none", ".", "github.com", id="here"),
    ],
)
def test_message_after_the_copy(
    template: Path, tmp_path: Path, ci: str, folder: str, host: str
) -> None:
    data = [f"--data={name}={value}" for name, value in (TYPED | {"ci": ci}).items()]
    result = run("copy", "--defaults", "--vcs-ref=HEAD", *data, template, folder, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    message = result.stderr[result.stderr.index("The driver for My CLOUD is ready.") :]
    assert ("\n  cd " in message) == (folder != ".")
    script = commands(message, "git push -u origin main")
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, capture_output=True)
    project = tmp_path / folder
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "--format=%s", "main") == "Start from the template\n"
    assert git(project, "remote", "get-url", "origin") == f"https://{host}/Acme/mcm-my-cloud.git\n"
    assert "make test\n" in message
    assert "make run\n" in message
    assert all(f"my_cloud/{name} " in message for name in TO_FILL_IN)


def test_the_files_that_the_message_names_exist(template: Path) -> None:
    assert all((template / PACKAGE.relative_to(ROOT) / name).exists() for name in TO_FILL_IN)
