"""`make release VERSION=1.2.3`: from a checked tree to a tag.

Dates the changelog, commits, tags, and says what to push. It pushes nothing, so `git tag --delete`
and `git reset` undo it.
"""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import Version

CHANGELOG = Path("CHANGELOG.md")
BRANCH = "main"
CHECKS = ("lint", "types", "test")

UNRELEASED = re.compile(r"^## \[Unreleased\]\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
UPGRADING = re.compile(r"^### Upgrading\n+(?!#)\S", re.MULTILINE)


class NotReadyError(Exception):
    """The tree can't be released as it is. Its text says what to do."""


def main(arguments: list[str]) -> None:
    """Make the release that the command line names."""
    version = _version(arguments)
    _check_tree(version)
    changelog = dated(CHANGELOG.read_text(), version, datetime.now(UTC).date().isoformat())
    if subprocess.run(["make", *CHECKS], check=False).returncode != 0:
        raise NotReadyError(f"'make {' '.join(CHECKS)}' failed; mend what it says")
    CHANGELOG.write_text(changelog)
    _git("commit", "--quiet", "--message", f"Release {version}", str(CHANGELOG))
    _git("tag", "--annotate", "--message", f"Release {version}", str(version))
    print(
        f"\nRelease {version} is committed and tagged here. Look at it, then publish it:\n\n"
        f"  git show {version}\n"
        f"  git push --atomic origin {BRANCH} {version}\n"
    )


def dated(changelog: str, version: Version, date: str) -> str:
    """Return the changelog with what is unreleased under the version and its date (ISO 8601).

    Raises:
        NotReadyError: Nothing is unreleased, or it does not say how to upgrade.
    """
    unreleased = UNRELEASED.search(changelog)
    if unreleased is None or not unreleased["text"].strip():
        raise NotReadyError(f"{CHANGELOG} has nothing under '## [Unreleased]'; say what is new")
    if not UPGRADING.search(unreleased["text"]):
        raise NotReadyError(
            f"{CHANGELOG} has no '### Upgrading' under '## [Unreleased]'; "
            "say what is to be done after copier update, even if it is nothing"
        )
    heading = f"## [Unreleased]\n\n## [{version}] - {date}\n"
    return changelog[: unreleased.start()] + heading + changelog[unreleased.start("text") :]


def _version(arguments: list[str]) -> Version:
    text = arguments[0] if len(arguments) == 1 else ""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", text):
        raise NotReadyError(f"'{text}' is no version; good is: make release VERSION=1.2.3")
    return Version(text)


def _check_tree(version: Version) -> None:
    if (branch := _git("branch", "--show-current")) != BRANCH:
        raise NotReadyError(f"this is branch '{branch}'; releases are made on {BRANCH}")
    if _git("status", "--porcelain"):
        raise NotReadyError("something is not committed; see 'git status'")
    released = [Version(tag) for tag in _git("tag").split() if re.fullmatch(r"\d+(\.\d+){2}", tag)]
    if released and version <= max(released):
        raise NotReadyError(f"{version} is not newer than {max(released)}, which is released")


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
        sys.exit(f"error: git failed at: {' '.join(error.cmd)}")
    except KeyboardInterrupt:
        sys.exit("stopped")
