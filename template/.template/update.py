"""Update the project to a newer template: `update.py update`, `check-update` or `conflicts`.

`update.py fetch` clones the current version of the template into `build`.

copier does the work, and gets the options that follow. Before an update, this script reports in
one line the problems for which copier would print a traceback. Afterwards, it lists the files with
conflicts.
"""

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

ANSWERS: Final = Path(".copier-answers.yml")
FETCHED: Final = Path("build/template")
MARKERS: Final = "^([<]{7} before|[>]{7} after) updating$"

ABBREVIATED: Final = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/", "git+": ""}
"""Prefixes of addresses that copier understands, but git does not."""


class NotPossibleError(Exception):
    """The command is not possible. The message says why, and what to do."""


def main(command: str, options: Sequence[str]) -> None:
    """Run a command.

    Raises:
        NotPossibleError: The command is not possible, or there are conflicts.
    """
    if command == "conflicts":
        if found := conflicts():
            raise NotPossibleError(found)
        return
    if command == "fetch":
        check_template()
        fetch()
        return
    check_repository()
    check_template()
    run_copier([command, *options])
    if command == "update" and (found := conflicts()):
        print(f"\n{found}", file=sys.stderr)


def check_repository() -> None:
    """Check that copier can work with this repository.

    Raises:
        NotPossibleError: It can't.
    """
    if _git("rev-parse", "--show-object-format").strip() == "sha256":
        raise NotPossibleError(
            "this repository uses SHA-256 objects, so copier can't update it: "
            "see 'Repositories that copier can't update' in docs/how-to/update.md of the template"
        )


def check_template() -> None:
    """Check that the address of the template is valid in this folder.

    Raises:
        NotPossibleError: It is not valid for anybody.
    """
    source = str((yaml.safe_load(ANSWERS.read_text()) or {}).get("_src_path", ""))
    path = Path(source).expanduser()
    if not source or ":" in source or (path.is_absolute() and path.exists()):
        return
    raise NotPossibleError(
        f"the template is not at '{source}', as {ANSWERS} says: write its address or its absolute "
        "path there after '_src_path: ', commit that, and run this again"
    )


def fetch() -> None:
    """Clone the template, at the version that this project was rendered from.

    Raises:
        NotPossibleError: The version is not recorded, or git can't get it.
    """
    answers = yaml.safe_load(ANSWERS.read_text())
    address, version = str(answers["_src_path"]), str(answers.get("_commit", ""))
    if not version:
        raise NotPossibleError(
            f"{ANSWERS} names no version of the template, because it was not rendered from a git "
            "repository: clone the template yourself"
        )
    head, wanted = (
        _git("-C", str(FETCHED), "rev-parse", revision) for revision in ("HEAD", f"{version}^0")
    )
    if (FETCHED / ".git").exists() and head == wanted:
        return
    for short, full in ABBREVIATED.items():
        if address.startswith(short):
            address = full + address.removeprefix(short)
    shutil.rmtree(FETCHED, ignore_errors=True)
    try:
        subprocess.run(["git", "clone", "--quiet", address, FETCHED], check=True)
        subprocess.run(["git", "-C", FETCHED, "checkout", "--quiet", version], check=True)
    except subprocess.CalledProcessError as error:
        raise NotPossibleError(f"git can't get version {version} from {address}") from error


def run_copier(arguments: Sequence[str]) -> None:
    """Run copier's command.

    Raises:
        NotPossibleError: It raised an exception.
        SystemExit: It failed with its own message.
    """
    sys.argv[1:] = arguments
    try:
        runpy.run_module("copier", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    except (OSError, ValueError) as error:  # a failed command, or a refused answer
        said = str(getattr(error, "stderr", "") or error).strip()
        raise NotPossibleError(said.splitlines()[-1] if said else repr(error)) from error


def conflicts() -> str:
    """Return a list of the files with conflicts and of unmerged changes, or nothing."""
    unmerged = _names("diff", "--name-only", "--diff-filter=U", "--relative")
    marked = _names("grep", "--untracked", "--name-only", "--extended-regexp", MARKERS)
    rejected = _names("ls-files", "--others", "--", "*.rej")
    parts = []
    if unmerged | marked:
        parts += ["These files have conflicts. Resolve them, then 'git add' each file:"]
        parts += [f"  {name}" for name in sorted(unmerged | marked)]
    if rejected:
        parts += ["These files contain unmerged changes. Apply them, then delete each file:"]
        parts += [f"  {name}" for name in sorted(rejected)]
    return "\n".join(parts)


def _names(*arguments: str) -> set[str]:
    command, *others = arguments
    return set(filter(None, _git(command, "-z", *others).split("\0")))


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    return os.fsdecode(result.stdout)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except NotPossibleError as reason:
        sys.exit(f"error: {reason}")
    except KeyboardInterrupt:
        sys.exit("stopped")
