"""`make home REPOSITORY=owner/name`: say everywhere where the template's repository is.

The present home is the one that the Go module of the bridge names.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MODULE: Final = Path("bridge/go.mod")
PLACE: Final = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*/[A-Za-z0-9._-]+")


def main(arguments: Sequence[str]) -> None:
    """Move all mentions to the repository that the command line names."""
    if len(arguments) != 1 or not PLACE.fullmatch(arguments[0]):
        sys.exit("error: say where it is on GitHub: make home REPOSITORY=owner/name")
    present, new = home(), arguments[0]
    for path in mentions(present):
        path.write_text(path.read_text().replace(present, new))
    print(f"The template is at github.com/{new} now; it was at {present}. Look at `git diff`.")


def home() -> str:
    """Return the owner and the name of the repository."""
    module = re.search(
        r"^module github\.com/([^/]+/[^/]+)/bridge$", MODULE.read_text(), re.MULTILINE
    )
    if module is None:
        sys.exit(f"error: {MODULE} does not name a module github.com/owner/name/bridge")
    return module[1]


def mentions(place: str) -> list[Path]:
    """Return the tracked files that name a repository."""
    found = subprocess.run(
        ["git", "grep", "--files-with-matches", "--fixed-strings", place],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Path(name) for name in found.stdout.splitlines()]


if __name__ == "__main__":
    main(sys.argv[1:])
