"""What the next release of the template changes: one thing of every kind."""

from pathlib import Path

import yaml

PACKAGE = "template/<<provider_name>>"

MERGED = {
    "cmi/errors.py": ('"""The errors', '"""The next errors'),
    "cmi/testing/__init__.py": ('"""', '"""Next: '),
    ".github/workflows/ci.yml": ("timeout-minutes: 15", "timeout-minutes: 20"),
    ".gitlab-ci.yml": (
        "timeout: 15 minutes\n  interruptible",
        "timeout: 20 minutes\n  interruptible",
    ),
    "Makefile.jinja": (
        ".PHONY: clean\n",
        ".PHONY: news\nnews: ## say what is new\n\t@echo news\n\n.PHONY: clean\n",
    ),
    "README.md.jinja": ("## Start\n", "Ask << support_address >> for help.\n\n## Start\n"),
    "pyproject.toml.jinja": ('"typer>=0.16",\n', '"typer>=0.15",\n  "typing-extensions>=4",\n'),
}
"""By file under template/: a text in it, and what the next release has instead."""

LEFT_ALONE = {
    "<<provider_name>>/cloud.py": ('"""The adapter', '"""The changed adapter'),
    "<<provider_name>>/machineserver.py": ('"""The machine RPCs', '"""The changed machine RPCs'),
    "<<provider_name>>/tests/test_machines.py": ('"""Tests', '"""In the next release, tests'),
    "kubernetes/machine.yaml.jinja": ("# One machine", "# One changed machine"),
    "requirements/run.txt": ("# This file", "# This changed file"),
}
"""The same for files that an update leaves as they are."""

ADDED = "cmi/news.py"
REMOVED = ".editorconfig"
QUESTION = "support_address"


def make_next_release(repository: Path) -> None:
    """Change the files of the template's repository into the next release."""
    template = repository / "template"
    for name, (old, new) in {**MERGED, **LEFT_ALONE}.items():
        text = (template / name).read_text()
        assert old in text, name
        (template / name).write_text(text.replace(old, new, 1))
    (template / REMOVED).unlink()
    (template / ADDED).write_text('"""New in this release."""\n')
    (template / "<<provider_name>>/news.py").write_text('"""New in this release."""\n')
    (template / "<<provider_name>>/tests/test_process.py").unlink()
    (template / "kubernetes/news.yaml").write_text("# New in this release.\n")
    (template / "kubernetes/machine-deployment.yaml.jinja").unlink()
    question = {QUESTION: {"type": "str", "default": "help@example.com"}}
    with (repository / "copier.yml").open("a") as settings:
        settings.write("\n" + yaml.safe_dump(question))


def make_hostile_release(repository: Path, evidence: Path) -> None:
    """Change the template's repository into a release that runs what nobody has reviewed.

    Args:
        repository: The template's.
        evidence: The file in which its code notes the environment that it runs in.
    """
    template = repository / "template"
    makefile = template / "Makefile.jinja"
    makefile.write_text(f"ran := $(shell env >> '{evidence}')\n" + makefile.read_text())
    for script in (template / ".ci").iterdir():
        first, rest = script.read_text().split("\n", 1)
        stray = f"env >> '{evidence}'; echo stray >> '{evidence}'\n" * 40
        script.write_text(f"{first}\n{stray}{rest}")
