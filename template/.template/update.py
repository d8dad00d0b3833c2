"""Bring a newer version of the template: `update.py update`, `check-update` or `conflicts`.

`update.py fetch` brings the present version, beside the project.

copier does the work, and takes the options that follow. Before an update this says in one line
what copier would end with a traceback at; afterwards it names the files that hold conflicts.
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
"""What copier understands at the start of an address, and git does not."""


class NotPossibleError(Exception):
    """Something can't be done here. Its text says why, and what to do."""


def main(command: str, options: Sequence[str]) -> None:
    """Do what the command line says.

    Raises:
        NotPossibleError: It can't be done, or conflicts are left.
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
    """See that copier can work with this repository.

    Raises:
        NotPossibleError: It can't.
    """
    if _git("rev-parse", "--show-object-format").strip() == "sha256":
        raise NotPossibleError(
            "this repository is one of SHA-256 objects, which copier can't update: "
            "see 'Repositories that copier can't update' in docs/how-to/update.md of the template"
        )


def check_template() -> None:
    """See that the template can be found from here.

    Raises:
        NotPossibleError: It can't, whoever runs this.
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
        NotPossibleError: It ended with an exception.
        SystemExit: It said itself what is wrong.
    """
    sys.argv[1:] = arguments
    try:
        runpy.run_module("copier", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    except (OSError, ValueError) as error:  # of a command that failed, or a refused answer
        said = str(getattr(error, "stderr", "") or error).strip()
        raise NotPossibleError(said.splitlines()[-1] if said else repr(error)) from error


def conflicts() -> str:
    """Return which files hold conflicts or what could not be merged, or nothing."""
    unmerged = _names("diff", "--name-only", "--diff-filter=U", "--relative")
    marked = _names("grep", "--untracked", "--name-only", "--extended-regexp", MARKERS)
    rejected = _names("ls-files", "--others", "--", "*.rej")
    parts = []
    if unmerged | marked:
        parts += ["These files hold conflicts. Mend them, then 'git add' each:"]
        parts += [f"  {name}" for name in sorted(unmerged | marked)]
    if rejected:
        parts += ["These hold changes that were not merged. Make them by hand, then delete each:"]
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
