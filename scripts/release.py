"""`make release VERSION=1.2.3`: from a tree that is ready to the tags of a release.

Writes the version everywhere, dates the changelog, checks what CI checks, commits, tags, and says
what to push. It pushes nothing, so `git tag --delete` and `git reset` undo it.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml
from packaging.version import Version

CHANGELOG: Final = Path("CHANGELOG.md")
CI: Final = (Path(".github/workflows/ci.yml"), Path(".github/workflows/nightly.yml"))
BRIDGE_MODULE: Final = Path("bridge/go.mod")
BRANCH: Final = "main"

STAMPED: Final[Mapping[str, str]] = {
    "template/cmi/version.py": r'(?<=^VERSION = ").*(?="$)',
    "bridge/internal/bridge/version.go": r'(?<=^const Version = ").*(?="$)',
    "template/kubernetes/deploy/kustomization.yaml.jinja": r"(?<=^    newTag: ).*(?=-mcm)",
}
"""The files that hold the version, and where in them."""

ARRIVING_ONCE: Final = re.compile(
    r"<<provider_name>>/|CHANGELOG\.md$|kubernetes/[^/]+\.yaml$|requirements/[^/]+\.txt$"
)
"""Files of the template that an update never deletes, as copier.yml has it."""

UNRELEASED: Final = re.compile(
    r"^## \[Unreleased\]\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)
UPGRADING: Final = re.compile(r"^### Upgrading\n+(?!#)\S", re.MULTILINE)


class NotReadyError(Exception):
    """The tree can't be released as it is. Its text says what to do."""


def main(arguments: Sequence[str]) -> None:
    """Make the release that the command line names."""
    version = _version(arguments)
    _check_tree(version)
    _check_module()
    changelog = dated(
        CHANGELOG.read_text(), version, datetime.now(UTC).date().isoformat(), dropped()
    )
    try:
        stamp(version)
        CHANGELOG.write_text(changelog)
        check()
        _git("commit", "--quiet", "--all", "--message", f"Release {version}")
    except BaseException:
        _git("restore", ".")
        raise
    tags = tags_of(version)
    # copier takes the name of a version from the annotated tag; the other one is for Go.
    _git("tag", "--annotate", "--message", f"Release {version}", tags[0])
    _git("tag", tags[1])
    stamp(following(version))
    _git("commit", "--quiet", "--all", "--message", f"Go on after {version}")
    print(
        f"\nRelease {version} is committed and tagged here. Look at it, then publish it:\n\n"
        f"  git show {version}\n"
        f"  git push --atomic origin {BRANCH} {' '.join(tags)}\n\n"
        "And the bridge's image, to where you publish images:\n\n"
        f"  git switch --detach {version}\n"
        "  make -C bridge publish IMAGE=registry.example/cmi-bridge\n"
    )


def dated(changelog: str, version: Version, date: str, gone: Sequence[str]) -> str:
    """Return the changelog with what is unreleased under the version and its date (ISO 8601).

    Raises:
        NotReadyError: Nothing is unreleased, or it does not say how to upgrade, or does not name
            a file that updates will delete.
    """
    unreleased = UNRELEASED.search(changelog)
    if unreleased is None or not unreleased["text"].strip():
        raise NotReadyError(f"{CHANGELOG} has nothing under '## [Unreleased]'; say what is new")
    if not UPGRADING.search(unreleased["text"]):
        raise NotReadyError(
            f"{CHANGELOG} has no '### Upgrading' under '## [Unreleased]'; "
            "say what is to be done after copier update, even if it is nothing"
        )
    if unnamed := [name for name in gone if f"`{name}`" not in unreleased["text"]]:
        raise NotReadyError(
            f"{CHANGELOG} does not name files that updates will delete: {', '.join(unnamed)}; "
            "say under '### Upgrading' what replaces them"
        )
    heading = f"## [Unreleased]\n\n## [{version}] - {date}\n"
    return changelog[: unreleased.start()] + heading + changelog[unreleased.start("text") :]


def dropped() -> list[str]:
    """Return the files, as they are rendered, that the last release has and this tree has not."""
    released = releases()
    if not released:
        return []
    deleted = ("diff", "--name-only", "--no-renames", "--diff-filter=D", str(released[-1]))
    names = _git(*deleted, "--", "template/").splitlines()
    rendered = {name.removeprefix("template/").removesuffix(".jinja") for name in names}
    return sorted(
        name
        for name in rendered
        if not ARRIVING_ONCE.match(name)
        and not Path("template", name).exists()
        and not Path("template", f"{name}.jinja").exists()
    )


def stamp(version: Version) -> None:
    """Write the version into all files that hold it, and into the pages that are made of them."""
    for name, where in STAMPED.items():
        path = Path(name)
        text, count = re.subn(where, str(version), path.read_text(), flags=re.MULTILINE)
        if count != 1:
            raise NotReadyError(f"{name} needs the version exactly once; see scripts/release.py")
        path.write_text(text)
    subprocess.run(["make", "--silent", "reference"], check=True)


def check() -> None:
    """Run all that CI runs.

    Raises:
        NotReadyError: Something fails.
    """
    command = ["make", *targets_of_ci()]
    if subprocess.run(command, check=False).returncode != 0:
        raise NotReadyError(f"'{' '.join(command)}' failed; fix the problems that it reports")


def targets_of_ci() -> list[str]:
    """Return the targets of make that CI runs, each once, in their order."""
    workflows = [yaml.safe_load(path.read_text()) for path in CI]
    jobs = [job for workflow in workflows for job in workflow["jobs"].values()]
    commands = [step["run"].split() for job in jobs for step in job["steps"] if "run" in step]
    return [*dict.fromkeys(word for make, *words in commands if make == "make" for word in words)]


def following(version: Version) -> Version:
    """Return the version of what is not released yet after a release."""
    return Version(f"{version.major}.{version.minor}.{version.micro + 1}.dev0")


def releases(repository: Path = Path()) -> list[Version]:
    """Return what was released, the newest last."""
    tags = re.findall(r"^\d+\.\d+\.\d+$", _git("-C", str(repository), "tag"), re.MULTILINE)
    return sorted(map(Version, tags))


def tags_of(version: Version) -> list[str]:
    """Return the tags of a release: the one for copier, and the one for Go."""
    return [str(version), f"bridge/v{version}"]


def _version(arguments: Sequence[str]) -> Version:
    text = arguments[0] if len(arguments) == 1 else ""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", text):
        raise NotReadyError(f"'{text}' is not a version; try: make release VERSION=1.2.3")
    return Version(text)


def _check_tree(version: Version) -> None:
    if (branch := _git("branch", "--show-current")) != BRANCH:
        raise NotReadyError(f"this is branch '{branch}'; releases are made on {BRANCH}")
    if _git("status", "--porcelain"):
        raise NotReadyError("something is not committed; see 'git status'")
    released = releases()
    if released and version <= released[-1]:
        raise NotReadyError(f"{version} is not newer than {released[-1]}, which is released")
    if left := _git("tag", "--list", *tags_of(version)):
        raise NotReadyError(f"there is a tag {left}; delete it, or choose another version")


def _check_module() -> None:
    """See that `go install` will find the bridge where it will be pushed."""
    origin = re.search(
        r"github\.com[:/](.+?)(\.git)?$",
        _git("config", "--default", "", "--get", "remote.origin.url"),
    )
    module = re.search(r"^module github\.com/(.+)/bridge$", BRIDGE_MODULE.read_text(), re.MULTILINE)
    if origin and module and origin[1] != module[1]:
        raise NotReadyError(
            f"this is github.com/{origin[1]}, and {BRIDGE_MODULE} says github.com/{module[1]}: "
            f"run make home REPOSITORY={origin[1]}"
        )


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except NotReadyError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: this failed: {' '.join(error.cmd)}")
    except KeyboardInterrupt:
        sys.exit("stopped")
