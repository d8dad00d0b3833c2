"""`make check-answers FILE=answers.yml`: print each problem with the answers in one line.

copier itself reports one problem at a time, with a traceback.
"""

import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import yaml
from copier import run_copy
from copier.errors import UserMessageError

ROOT = Path(__file__).parents[1]
REFUSED = re.compile(
    r"Validation error for question '(?P<name>\w+)': (?P<why>.*)"
    r"|Invalid choice for '(?P<choice>\w+)': (?P<choices>.*)"
    r"|parameter '(?P<missing>\w+)' was not provided",
    re.DOTALL,
)
STAND_INS = {"provider_name": "acme", "github_org": "my-company"}


def main(file: Path) -> None:
    """Check the answers in a file."""
    given = yaml.safe_load(file.read_text())
    if not isinstance(given, dict):
        sys.exit(f"error: {file} holds no answers: write NAME: VALUE, one in a line")
    complaints = refused(given)
    for complaint in complaints:
        print(f"{file}: {complaint}", file=sys.stderr)
    if complaints:
        sys.exit(1)
    for name, value in resulting(given).items():
        print(f"{name}: {value}")


def asked() -> list[str]:
    """Return the names of all questions, in their order."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text())
    return [name for name in settings if not name.startswith("_")]


def refused(given: dict[str, Any]) -> list[str]:
    """Return the problems with the answers, one line each."""
    complaints = [f"{name}: no such question" for name in given if name not in asked()]
    answers = dict(given)
    found: set[str] = set()
    while True:
        try:
            resulting(answers)
        except (UserMessageError, ValueError) as error:
            what = REFUSED.search(str(error))
            name = str(what["missing"] or what["name"] or what["choice"]) if what else ""
            if what is None or name in found:  # it is not about a given answer
                return [*complaints, " ".join(str(error).split())]
            why = "is missing" if what["missing"] else what["why"] or what["choices"]
            complaints.append(f"{name}: {why}")
            found.add(name)
            answers.pop(name, None)
            answers |= {name: STAND_INS[name]} if name in STAND_INS else {}
        else:
            return complaints


def resulting(answers: dict[str, Any]) -> dict[str, Any]:
    """Return the answers that a project would be rendered with, defaults included.

    Raises:
        UserMessageError: One is missing.
        ValueError: One is refused.
    """
    warnings.simplefilter("ignore")  # copier warns about uncommitted changes
    with tempfile.TemporaryDirectory() as folder:
        worker = run_copy(
            str(ROOT),
            folder,
            answers,
            defaults=True,
            pretend=True,
            quiet=True,
            vcs_ref="HEAD",
        )
        return {name: value for name, value in worker.answers.combined.items() if name[:1] != "_"}


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")
    except yaml.YAMLError as error:
        sys.exit(f"error: {sys.argv[1]} is no YAML: {' '.join(str(error).split())}")
