"""The next release of the template, with one change of every kind."""

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
"""For each file under template/: a text in it, and the text that replaces it in the release."""

LEFT_ALONE = {
    "<<provider_name>>/cloud.py": ('"""The adapter', '"""The changed adapter'),
    "<<provider_name>>/machineserver.py": ('"""The machine RPCs', '"""The changed machine RPCs'),
    "<<provider_name>>/tests/test_machines.py": ('"""Tests', '"""In the next release, tests'),
    "kubernetes/machine.yaml.jinja": ("# One machine", "# One changed machine"),
    "requirements/run.txt": ("# This file", "# This changed file"),
}
"""The same for files that an update leaves unchanged."""

ADDED = "cmi/news.py"
REMOVED = ".editorconfig"
QUESTION = "support_address"


def make_next_release(repository: Path) -> None:
    """Turn the files of the template's repository into the next release."""
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
    """Turn the template's repository into a release that runs code that nobody has reviewed.

    Args:
        repository: The template's repository.
        evidence: The file to which that code writes the environment it runs in.
    """
    template = repository / "template"
    makefile = template / "Makefile.jinja"
    makefile.write_text(f"ran := $(shell env >> '{evidence}')\n" + makefile.read_text())
    for script in (template / ".ci").iterdir():
        first, rest = script.read_text().split("\n", 1)
        stray = f"env >> '{evidence}'; echo stray >> '{evidence}'\n" * 40
        script.write_text(f"{first}\n{stray}{rest}")
