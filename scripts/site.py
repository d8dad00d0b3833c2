"""`make site`: the documentation of the last releases, side by side, into build/versions.

Each is built from its own tag with its own tools. The newest is also `latest`, where links lead.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.version import Version

from scripts.release import releases

FOLDER: Final = Path("build/versions")
KEPT: Final = 5
LATEST: Final = "latest"


def main() -> None:
    """Build all versions that are kept; without a release, the working tree is the latest."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    kept = choose(releases())
    for version in kept:
        with tempfile.TemporaryDirectory() as folder:
            worktree = Path(folder, "worktree")
            _run("git", "worktree", "add", "--detach", str(worktree), str(version))
            try:
                build(worktree, str(version))
                if version == kept[0]:
                    build(worktree, LATEST)
            finally:
                _run("git", "worktree", "remove", "--force", str(worktree))
    if not kept:
        build(Path(), LATEST)
    (FOLDER / "versions.json").write_text(json.dumps([LATEST, *map(str, kept)]))
    (FOLDER / "index.html").write_text(f'<meta http-equiv="refresh" content="0; url={LATEST}/">\n')
    shutil.copy(FOLDER / LATEST / "404.html", FOLDER)
    print(f"Built {FOLDER}: {', '.join([LATEST, *map(str, kept)])}")


def choose(released: Sequence[Version]) -> list[Version]:
    """Return the releases whose pages are kept: the last of each minor version, newest first."""
    last = {version.release[:2]: version for version in sorted(released)}
    return sorted(last.values(), reverse=True)[:KEPT]


def build(tree: Path, folder: str) -> None:
    """Build the pages of one working tree into a folder of the site."""
    site = FOLDER.resolve() / folder
    _run("env", f"SITE_VERSION={folder}", "make", "-C", str(tree), "docs", f"SITE={site}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: this failed: {' '.join(error.cmd)}")
