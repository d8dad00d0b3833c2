"""The parts of docs/reference/ that are generated from the code: `make reference` writes them.

Each function returns the Markdown between two of cog's marks on a page.
"""

import os
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import typer
import yaml
from copier import run_copy
from google.protobuf.descriptor import FieldDescriptor
from typer.testing import CliRunner

from cmi import cli
from cmi.app import command_line
from cmi.conformance.items import ITEMS
from cmi.contract import RPCS
from cmi.driver import Driver
from cmi.v1 import cmi_pb2
from cmi.version import VERSION

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = "my_cloud"
WIDTH: Final = 80


def questions() -> str:
    """Return the questions and their defaults."""
    asked = yaml.safe_load((ROOT / "copier.yml").read_text())
    answers = _default_answers()
    rows = [
        (f"`{name}`", _explained(question["help"]), _default(question, answers[name]))
        for name, question in asked.items()
        if not name.startswith("_") and "help" in question
    ]
    return _table(("question", "meaning", f"default for `{EXAMPLE}`"), rows)


def driver_options() -> str:
    """Return the help of a driver."""

    def make_driver() -> Driver:
        raise NotImplementedError

    make_driver.__module__ = EXAMPLE
    return _help(command_line(make_driver), f"python -m {EXAMPLE}")


def client_commands() -> str:
    """Return the help of the client, and of each of its commands."""
    program = "cmi"
    commands = [command.name or _name(command) for command in cli.app.registered_commands]
    parts = [_help(cli.app, program)]
    parts += [f"### {name}\n\n{_help(cli.app, program, name)}" for name in commands]
    return "\n".join(parts)


def messages() -> str:
    """Return the messages of each machine RPC, field by field."""
    parts = []
    for rpc in RPCS:
        presence = "mandatory" if rpc.is_mandatory else "optional"
        parts.append(
            f"**{rpc.name}** → `{rpc.method}`, capability `{rpc.capability_name}`, {presence}\n"
        )
        rows = [
            (f"`{field.name}`", str(field.number), _type(field), _of(message))
            for message in (f"{rpc.name}Request", f"{rpc.name}Response")
            for field in getattr(cmi_pb2, message).DESCRIPTOR.fields
        ]
        parts.append(_table(("field", "number", "type", "of"), rows))
    return "\n".join(parts)


def items() -> str:
    """Return the conformance list, grouped by the topics of the suite's files."""
    topics: dict[str, str] = {}
    for path in (ROOT / "template/cmi/conformance/suite").glob("*.py"):
        text = path.read_text()
        topic = re.match(r'"""C\d+.*: (.+)\."""', text)
        if topic:
            topics |= dict.fromkeys(re.findall(r"^def test_(C\d+)_", text, re.MULTILINE), topic[1])
    topics["C47"] = "names"  # of more than one RPC
    sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for item, sentence in ITEMS.items():
        sections[topics[item]].append((item, sentence))
    return "\n".join(
        f"### {topic[:1].upper()}{topic[1:]}\n\n{_table(('item', 'requirement'), rows)}"
        for topic, rows in sections.items()
    )


def versions() -> str:
    """Return the versions that were tested together, for this tree and for each earlier release."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text())
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    pythons = ci["jobs"]["test"]["strategy"]["matrix"]["python"]
    mcm = _pinned("bridge/go.mod", r"^\tgithub.com/gardener/machine-controller-manager v(\S+)")
    kubernetes = _pinned("e2e/kubernetes/go.mod", r"^require k8s.io/kubernetes v(\S+)")
    copier = _pinned("requirements/dev.txt", r"^copier==(\S+)")
    go = _pinned("bridge/go.mod", r"^go (\S+)")
    row = (
        VERSION,
        mcm,
        kubernetes,
        f"{pythons[0]} to {pythons[-1]}",
        f"{settings['_min_copier_version']} to {copier}",
        f"{go} or newer",
    )
    head = (
        "template, framework, kit, bridge, example",
        "MCM",
        "Kubernetes",
        "Python",
        "copier",
        "Go",
    )
    page = (ROOT / "docs/reference/versions.md").read_text()
    released = re.findall(r"^\| (\d+\.\d+\.\d+ \|.*) \|$", page, re.MULTILINE)
    before = [line.split(" | ") for line in released if not line.startswith(f"{VERSION} ")]
    return _table(head, [row, *before])


def _pinned(file: str, pattern: str) -> str:
    (version,) = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)
    return str(version)


def _default_answers() -> dict[str, Any]:
    warnings.simplefilter("ignore")  # copier warns of uncommitted changes
    with tempfile.TemporaryDirectory() as folder:
        worker = run_copy(
            str(ROOT),
            folder,
            {"provider_name": EXAMPLE, "github_org": "my-company"},
            defaults=True,
            pretend=True,
            quiet=True,
            vcs_ref="HEAD",
        )
        return dict(worker.answers.combined)


def _default(question: dict[str, Any], answer: str) -> str:
    return "none; an answer is required" if "UNSET" in question["default"] else f"`{answer}`"


def _explained(text: str) -> str:
    return " ".join(text.split()).partition(" Example: ")[0].rstrip(".")


def _name(command: Any) -> str:
    return str(command.callback.__name__)


def _help(app: typer.Typer, program: str, *command: str) -> str:
    os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = str(WIDTH)
    result = CliRunner().invoke(app, [*command, "--help"], prog_name=program)
    return f"```text\n{result.output.strip()}\n```\n"


def _type(field: FieldDescriptor) -> str:
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        kind = f"map<{_scalar(key)}, {_scalar(value)}>"
    else:
        kind = ("repeated " if field.is_repeated else "") + _scalar(field)
    secret = field.GetOptions().Extensions[cmi_pb2.cmi_secret]
    return f"{kind}, secret" if secret else kind


def _scalar(field: FieldDescriptor) -> str:
    if field.message_type:
        return str(field.message_type.name)
    names = {
        FieldDescriptor.TYPE_BOOL: "bool",
        FieldDescriptor.TYPE_BYTES: "bytes",
        FieldDescriptor.TYPE_STRING: "string",
    }
    return names[field.type]


def _of(message: str) -> str:
    return "response" if message.endswith("Response") else "request"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
