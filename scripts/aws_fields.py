"""The table on docs/reference/aws-fields.md, generated from the one in the example's tests."""

import re
import runpy
from pathlib import Path
from typing import Any, Final

TABLE: Final = Path(__file__).parents[1] / "examples/aws/aws/tests/fields.py"
FIRST_CALL: Final = "RunInstances"


def table() -> str:
    """Return a row for each field: what it does in Gardener's driver and here, and the test."""
    found = runpy.run_path(str(TABLE))
    rows = ["| field | Gardener's driver | this one | tested |", "|---|---|---|---|"]
    for path, field in {**found["FIELDS"], **found["MORE"]}.items():
        rows.append(f"| `{path}` | {field.theirs} | {field.ours} | {_tested(field)} |")
    return "\n".join(rows)


def _tested(field: Any) -> str:
    if not field.asked:
        return "taken and refused" if field.given else "with every class"
    parameter = re.sub(r"\.\d+\.", "[].", [*field.asked][-1])
    call = "" if field.action == FIRST_CALL else f"{field.action}: "
    return f"{call}`{parameter}`"
