"""`make update` does the same with all git settings that people have."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support import commit, git
from tests.update import projects
from tests.update.projects import contents, recorded, status
from tests.update.release import ADDED

Settings: TypeAlias = Mapping[str, str]

JUNK = ("*", "!/keep")
"""The patterns of a person who ignores everything in all repositories."""

CONTENT = {
    "apply.ignoreWhitespace": "change",
    "apply.whitespace": "fix",
    "core.autocrlf": "true",
    "core.eol": "crlf",
    "core.quotePath": "false",
    "core.safecrlf": "true",
    "i18n.commitEncoding": "ISO-8859-1",
    "i18n.logOutputEncoding": "UTF-16",
    "merge.conflictStyle": "diff3",
}
PRINTED = {
    "color.ui": "always",
    "column.ui": "always",
    "diff.external": "false",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "log.date": "relative",
    "log.decorate": "full",
    "log.showSignature": "true",
    "status.branch": "true",
    "status.relativePaths": "false",
    "status.short": "true",
    "status.showUntrackedFiles": "all",
    "versionsort.suffix": "0",
}
COMMITS = {
    "commit.cleanup": "verbatim",
    "commit.gpgSign": "true",
    "core.fsmonitor": "true",
    "feature.manyFiles": "true",
    "gpg.program": "false",
    "tag.gpgSign": "true",
    "user.signingKey": "nobody",
    "user.useConfigOnly": "true",
}


@dataclass(frozen=True)
class Somebody:
    """The settings of a person.

    Attributes:
        everywhere: Settings in their own configuration of git.
        here: Settings in the project's repository.
        variables: Variables in the environment. `~` is their home directory.
        files: Files in their home directory.
    """

    everywhere: Settings = field(default_factory=dict)
    here: Settings = field(default_factory=dict)
    variables: Settings = field(default_factory=dict)
    files: Settings = field(default_factory=dict)


PEOPLE = {
    "untracked-files-hidden": Somebody({"status.showUntrackedFiles": "no"}),
    "untracked-files-hidden-here": Somebody(here={"status.showUntrackedFiles": "no"}),
    "crlf": Somebody({"core.autocrlf": "true"}),
    "content": Somebody(CONTENT),
    "content-here": Somebody(here=CONTENT),
    "what-is-printed": Somebody(PRINTED),
    "what-is-printed-here": Somebody(here=PRINTED),
    "commits": Somebody(COMMITS | {"clone.defaultRemoteName": "upstream"}),
    "lists-of-files": Somebody(
        files={
            ".config/git/ignore": "\n".join(JUNK),
            ".config/git/attributes": "* -text eol=crlf\n*.py binary\n",
        }
    ),
    "files-named-in-settings": Somebody(
        {"core.excludesFile": "~/ignore", "core.attributesFile": "~/attributes"},
        files={"ignore": "*.py\n*.rej\n*.toml\n", "attributes": "* eol=crlf\n"},
    ),
    "hooks": Somebody(
        {"core.hooksPath": "~/hooks", "init.templateDir": "~/templates"},
        files={
            "hooks/pre-commit": "#!/bin/sh\nexit 1\n",
            "hooks/post-checkout": "#!/bin/sh\nexit 1\n",
            "templates/hooks/prepare-commit-msg": "#!/bin/sh\nexit 1\n",
        },
    ),
    "variables": Somebody(
        variables={
            "GIT_DEFAULT_HASH": "sha256",
            "GIT_DIFF_OPTS": "--unified=0",
            "GIT_DIR": "~/elsewhere",
            "GIT_EXTERNAL_DIFF": "false",
            "GIT_INDEX_FILE": "~/index",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_WORK_TREE": "~",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "status.showUntrackedFiles",
            "GIT_CONFIG_VALUE_0": "no",
        }
    ),
    "another-language": Somebody(variables={"LC_ALL": "C", "LANGUAGE": "de"}),
}

Update: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def update(tmp_path: Path) -> Update:
    """Run `make update` as a person, with the copier that is installed for these tests."""

    def update(project: Path, who: Somebody, *targets: str) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "home of somebody"
        home.mkdir(exist_ok=True)
        for name, text in who.files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
            (home / name).chmod(0o755)
        for name, value in who.everywhere.items():
            git(home, "config", "--file", ".gitconfig", name, value)
        for name, value in who.here.items():
            git(project, "config", name, value)
        environment = {
            name: value for name, value in os.environ.items() if name != "GIT_CONFIG_GLOBAL"
        }
        environment |= {
            name: value.replace("~", str(home)) for name, value in who.variables.items()
        }
        return subprocess.run(
            [
                *("make", "--no-print-directory", "--assume-old=build/copier/.stamp"),
                f"updated=$(isolated) {sys.executable} .template/update.py",
                *(targets or ("update", "OPTIONS=--defaults")),
            ],
            cwd=project,
            env=environment | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return update


def edited(project: Path) -> Path:
    """Commit edits that merge and edits that conflict, and add files that git does not track."""
    errors = project / "cmi/errors.py"
    text = errors.read_text().replace('"""The errors', '"""My errors')
    errors.write_text(text.replace("MAX_MESSAGE_BYTES = 1024", "MAX_MESSAGE_BYTES = 512"))
    (project / ADDED).write_text('"""My news."""\n')
    readme = project / "README.md"
    readme.write_text(readme.read_text().replace("## Licence", "## Contact\n\nMe.  \n\n## Licence"))
    (project / "acme/größe und mehr.txt").write_text("mine\r\n")
    commit(project)
    (project / ".venv").mkdir()
    (project / ".venv/file").write_text("ignored\n")
    return project


@pytest.fixture(scope="session")
def expected(
    rendered: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], list[str]]:
    """The files after an update without any settings, and the lines of `git status`."""
    project = edited(shutil.copytree(rendered, tmp_path_factory.mktemp("expected") / "project"))
    projects.update(project)
    return contents(project), status(project)


@pytest.mark.parametrize("who", PEOPLE.values(), ids=PEOPLE.keys())
def test_an_update_is_the_same_for_everybody(
    project: Path, expected: tuple[dict[str, bytes], list[str]], update: Update, who: Somebody
) -> None:
    """This includes conflicts, and no line is lost."""
    result = update(edited(project), who)
    assert result.returncode == 0, result.stderr
    for name in who.here:
        git(project, "config", "--unset", name)
    files, said = expected
    assert contents(project) == files
    assert status(project) == said
    assert not list(project.rglob("*.rej"))
    assert recorded(project)["_commit"] == "2.0.0"
    assert f"'git add' each file:\n  cmi/errors.py\n  {ADDED}\n" in result.stderr


class TestWhatIsNotPossible:
    """One line says what is wrong and what to do, and nothing is changed."""

    def test_a_repository_of_sha_256(self, project: Path, update: Update) -> None:
        shutil.rmtree(project / ".git")
        git(project, "init", "--quiet", "--object-format=sha256")
        self._expect(project, update, "this repository uses SHA-256 objects")

    @pytest.mark.parametrize("source", ["../template", "/nowhere/template"])
    def test_a_template_that_is_not_there(self, project: Path, update: Update, source: str) -> None:
        answers = project / ".copier-answers.yml"
        recorded_there = recorded(project)["_src_path"]
        answers.write_text(answers.read_text().replace(recorded_there, source))
        self._expect(project, update, f"the template is not at '{source}'")

    def test_an_answer_that_is_refused(self, project: Path, update: Update) -> None:
        options = "OPTIONS=--defaults --data=license=GPL"
        self._expect(project, update, "Invalid choice for 'license': 'GPL'", "update", options)

    @staticmethod
    def _expect(project: Path, update: Update, said: str, *targets: str) -> None:
        if status(project):
            commit(project)
        result = update(project, Somebody(), *targets)
        assert result.returncode == 2
        ours, of_make = result.stderr.splitlines()[-2:]
        assert ours.startswith(f"error: {said}")
        assert of_make.startswith("make: ")
        assert "Traceback" not in result.stderr
        assert status(project) == []


def test_conflicts_that_are_left_are_named(project: Path, update: Update) -> None:
    """Marked and rejected conflicts are named, even if git is configured to ignore these files."""
    (project / "acme/cloud.py.rej").write_text("@@ -1 +1 @@\n")
    (project / "acme/größe.txt").write_text("<<<<<<< before updating\n")
    result = update(project, Somebody(here={"core.excludesFile": ".gitignore"}), "conflicts")
    assert result.returncode == 2
    assert "'git add' each file:\n  acme/größe.txt\n" in result.stderr
    assert "then delete each file:\n  acme/cloud.py.rej\n" in result.stderr
    (project / "acme/cloud.py.rej").unlink()
    (project / "acme/größe.txt").unlink()
    result = update(project, Somebody(), "conflicts")
    assert (result.returncode, result.stderr) == (0, "")
