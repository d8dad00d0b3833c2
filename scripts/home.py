"""`make home REPOSITORY=owner/name`: set the address of the template's repository everywhere.

The current address is the one in the Go module of the bridge.
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
    """Replace the address in all files by the one on the command line."""
    if len(arguments) != 1 or not PLACE.fullmatch(arguments[0]):
        sys.exit("error: say where it is on GitHub: make home REPOSITORY=owner/name")
    present, new = home(), arguments[0]
    for old, moved in zip(forms(present), forms(new), strict=True):
        for path in mentions(old):
            path.write_text(path.read_text().replace(old, moved))
    print(f"The template is at github.com/{new} now; it was at {present}. Look at `git diff`.")


def home() -> str:
    """Return the owner and the name of the repository."""
    module = re.search(
        r"^module github\.com/([^/]+/[^/]+)/bridge$", MODULE.read_text(), re.MULTILINE
    )
    if module is None:
        sys.exit(f"error: {MODULE} does not name a module github.com/owner/name/bridge")
    return module[1]


def forms(place: str) -> tuple[str, str]:
    """Return how a repository is written: in its own address, and in that of its site."""
    return place, place.replace("/", ".github.io/")


def mentions(place: str) -> list[Path]:
    """Return the tracked files that name a repository."""
    found = subprocess.run(
        ["git", "grep", "--files-with-matches", "--fixed-strings", place],
        stdout=subprocess.PIPE,
        text=True,
        check=False,  # the exit code 1 means no matches
    )
    return [Path(name) for name in found.stdout.splitlines()]


if __name__ == "__main__":
    main(sys.argv[1:])
