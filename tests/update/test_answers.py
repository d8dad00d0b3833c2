"""Answers that change when a project is updated."""

import subprocess
from pathlib import Path

import pytest

from tests.support import ANSWERS, COPIER, commit, git
from tests.update.projects import contents, recorded, render, status, update


@pytest.mark.parametrize(
    ("answers", "changed"),
    [
        pytest.param(
            {"ci": "gitlab"},
            [
                " D .github/dependabot.yml",
                " D .github/workflows/ci.yml",
                " D .github/workflows/release.yml",
                " D .github/workflows/update.yml",
                " M .copier-answers.yml",
                " M CONTRIBUTING.md",
                " M Dockerfile",
                " M README.md",
                " M SECURITY.md",
                "?? .gitlab-ci.yml",
            ],
            id="gitlab",
        ),
        pytest.param(
            {"ci": "none"},
            [
                " D .ci/propose",
                " D .ci/receive",
                " D .github/dependabot.yml",
                " D .github/workflows/ci.yml",
                " D .github/workflows/release.yml",
                " D .github/workflows/update.yml",
                " M .copier-answers.yml",
                " M CONTRIBUTING.md",
                " M README.md",
            ],
            id="no-ci",
        ),
        pytest.param(
            {"license": "MIT"},
            [
                " D NOTICE",
                " M .copier-answers.yml",
                " M Dockerfile",
                " M LICENSE",
                " M README.md",
                " M REUSE.toml",
                " M pyproject.toml",
                "?? LICENSES/MIT.txt",
            ],
            id="another-licence",
        ),
        pytest.param(
            {"license": "none"},
            [
                " D LICENSE",
                " D NOTICE",
                " M .copier-answers.yml",
                " M Dockerfile",
                " M README.md",
                " M REUSE.toml",
                " M pyproject.toml",
                "?? LICENSES/LicenseRef-AllRightsReserved.txt",
            ],
            id="no-licence",
        ),
    ],
)
def test_a_new_answer_changes_just_what_it_names(
    project: Path, releases: Path, tmp_path: Path, answers: dict[str, str], changed: list[str]
) -> None:
    (project / "acme/cloud.py").write_text('"""Mine."""\n')
    commit(project)
    update(project, "1.0.0", **answers)
    assert status(project) == changed
    # The answer stays the same, even if its default has changed.
    kept = {"image_repository": recorded(project)["image_repository"]}
    render(releases, tmp_path / "fresh", "1.0.0", **kept, **answers)
    (tmp_path / "fresh/acme/cloud.py").write_text('"""Mine."""\n')
    assert contents(project) == contents(tmp_path / "fresh")


def test_a_new_question_gets_its_default_or_an_answer(project: Path) -> None:
    assert "support_address" not in recorded(project)
    update(project)
    assert recorded(project)["support_address"] == "help@example.com"
    git(project, "reset", "--quiet", "--hard")
    git(project, "clean", "--quiet", "-d", "--force")
    update(project, support_address="me@example.com")
    assert recorded(project)["support_address"] == "me@example.com"
    assert "Ask me@example.com for help." in (project / "README.md").read_text()


@pytest.mark.parametrize("folder", [".", "../brackets [in] its *?* name"])
def test_the_name_of_the_provider_stays(project: Path, folder: str) -> None:
    """The last line of the output says why the change is refused, and what to do."""
    project = project.rename((project / folder).resolve())
    result = subprocess.run(
        [*COPIER, "update", "--defaults", "--data=provider_name=other", folder],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    last = result.stderr.splitlines()[-1]
    assert 'keep "acme"; under another name, the project would lose your edits' in last
    assert "docs/how-to/update.md" in last
    assert status(project) == []
    update(project, **ANSWERS)
    assert recorded(project)["provider_name"] == "acme"


def test_a_copy_over_a_project_keeps_its_name_too(project: Path, releases: Path) -> None:
    with pytest.raises(ValueError, match='keep "acme"; under another name'):
        render(releases, project, "1.0.0", provider_name="other")
    assert status(project) == []
