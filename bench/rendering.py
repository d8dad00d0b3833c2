"""Rendering: what copier takes for this template, against an empty one."""

import resource
import shutil
import subprocess
import time
from pathlib import Path

from bench.report import Report
from bench.rounds import alternate
from bench.setting import ANSWERS, ROOT, Setting, copier, run

_GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@example.com")


def measure(setting: Setting, report: Report) -> None:
    """Compare a copy with that of an empty template, and an update with a copy."""
    folder = setting.folder / "rendering"
    template, empty = _versions_of_ours(folder / "ours"), _empty(folder / "empty")
    project = folder / "project"

    def copy(source: Path, target: Path) -> tuple[float, float]:
        shutil.rmtree(target, ignore_errors=True)
        data = (f"--data={name}={value}" for name, value in ANSWERS.items())
        answers = ("--quiet", "--defaults", "--vcs-ref", "1.0.0", *data)
        return _timed(folder, copier("copy", *answers, source, target))

    def update() -> tuple[float, float]:
        _commit(project)
        return _timed(project, copier("update", "--quiet", "--defaults"))

    samples = alternate(
        {
            "empty": lambda: copy(empty, folder / "nothing"),
            "copy": lambda: copy(template, project),
        },
        setting.rounds,
    )
    updates = []
    for _ in range(setting.rounds):
        samples["copy"].append(copy(template, project))
        updates.append(update())
    copies = samples["copy"]
    for index, name in enumerate(("wall s", "CPU s")):
        figures = {key: [each[index] for each in samples[key]] for key in samples}
        report.compare(
            "rendering",
            "copy ÷ copy of an empty template",
            name,
            figures["copy"][: setting.rounds],
            figures["empty"],
        )
        report.compare(
            "rendering",
            "update ÷ copy",
            name,
            [each[index] for each in updates],
            [each[index] for each in copies[setting.rounds :]],
        )
    report.note(
        "rendering: no other template is compared, since templates are published as git "
        "repositories, not in package registries"
    )


def _timed(folder: Path, command: list[str | Path]) -> tuple[float, float]:
    """Return the wall and the CPU time that a command takes, in seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(folder, *command)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _versions_of_ours(folder: Path) -> Path:
    """Make a repository of the template as it lies here, with a newer version of one file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    _commit(folder, "1.0.0")
    with (folder / "template/cmi/__init__.py").open("a") as changed:
        changed.write("\n# newer\n")
    _commit(folder, "1.1.0")
    return folder


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "copier.yml").write_text("provider_name: {type: str}\n_exclude: ['*']\n")
    _commit(folder, "1.0.0")
    return folder


def _commit(folder: Path, tag: str | None = None) -> None:
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, *_GIT, "commit", "--quiet", "--message", "state")
    if tag:
        run(folder, *_GIT, "tag", tag)
