"""`make reference`: documents the fields of the machine class and the keys of its Secret.

It reads the models, and writes a page for people and a JSON schema, with which editors complete and
check machine classes. The schema does not contain the checks of validators in Python.
"""

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

Schema: TypeAlias = Mapping[str, Any]

FOLDER: Final = Path("docs")
PAGE: Final = FOLDER / "machine-class.md"
SCHEMA: Final = FOLDER / "machine-class.schema.json"
LIMITS: Final = {"minimum": "at least", "maximum": "at most"}
HEAD: Final = ("field", "type", "default", "what it is")


def main(module: str) -> None:
    """Write both files from the `ProviderSpec` and the `Secrets` of a module."""
    models = importlib.import_module(module)
    FOLDER.mkdir(exist_ok=True)
    PAGE.write_text(page(module, models.ProviderSpec, models.Secrets))
    SCHEMA.write_text(json.dumps(schema(models.ProviderSpec), indent=2) + "\n")
    print(f"Wrote {PAGE} and {SCHEMA}")


def page(module: str, spec: type[BaseModel], secrets: type[BaseModel]) -> str:
    """Return the page, in Markdown."""
    return "\n".join(
        (
            "# Machine class\n",
            f"`make reference` writes this page from `{module.replace('.', '/')}.py`.",
            "With this first line, an editor checks a machine class by the schema next to it:\n",
            f"```yaml\n# yaml-language-server: $schema={SCHEMA.name}\n```\n",
            "## providerSpec\n",
            _table(spec),
            "## Secret\n",
            _table(secrets),
        )
    )


def schema(spec: type[BaseModel]) -> Schema:
    """Return the JSON schema of a manifest with a machine class."""
    provider_spec = spec.model_json_schema(by_alias=True)
    definitions = provider_spec.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "MachineClass",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "provider", "providerSpec", "secretRef"],
        "properties": {
            "apiVersion": {"const": "machine.sapcloud.io/v1alpha1"},
            "kind": {"const": "MachineClass"},
            "providerSpec": provider_spec,
        },
        "$defs": definitions,
    }


def _table(model: type[BaseModel]) -> str:
    root = model.model_json_schema(by_alias=True)
    lines = [HEAD, ("---",) * len(HEAD), *_rows(root, root, "")]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _rows(root: Schema, schema: Schema, path: str) -> Iterator[tuple[str, ...]]:
    """Yield a row for each field of an object, followed by rows for the fields in it."""
    for name, declared in schema.get("properties", {}).items():
        field = _resolved(root, declared)
        required = name in schema.get("required", ())
        default = "required" if required else _code(declared.get("default"))
        what = _escaped(declared.get("description", field.get("description", "")))
        yield f"`{path}{name}`", _type(root, field), default, what
        inner, mark = (field["items"], "[].") if "items" in field else (field, ".")
        yield from _rows(root, _resolved(root, inner), f"{path}{name}{mark}")


def _type(root: Schema, field: Schema) -> str:
    """Describe the type of a value in a few words."""
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        kinds = [_type(root, _resolved(root, each)) for each in field["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "null"))
    if "items" in field:
        return f"list of {_type(root, _resolved(root, field['items']))}"
    limits = [f"{word} {field[key]}" for key, word in LIMITS.items() if key in field]
    return ", ".join((str(field.get("type", "any")), *limits))


def _resolved(root: Schema, schema: Schema) -> Schema:
    """Follow the references of a schema; if the value may be null, return the other schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {**root["$defs"][name], **{k: v for k, v in schema.items() if k != "$ref"}}
    others = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(others) == 1:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return {**_resolved(root, others[0]), **rest}
    return schema


def _escaped(text: str) -> str:
    """Escape a text for the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _code(value: object) -> str:
    return "" if value in (None, "", [], {}) else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    main(sys.argv[1])
