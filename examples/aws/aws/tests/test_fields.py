"""The driver knows every field of Gardener's provider spec, and passes it to EC2."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import grpc
import pytest
from pydantic import BaseModel

from cmi.testing import Client, Samples

from ..apis.provider_spec import ProviderSpec
from .account import Account
from .fields import FIELDS, MORE, Field
from .gate import Call, Gate

TESTED = {path: field for path, field in {**FIELDS, **MORE}.items() if field.asked}


def test_the_table_has_every_field() -> None:
    """The table contains all fields of a machine class, and no others."""
    assert {*paths_of(ProviderSpec)} == FIELDS.keys() | MORE.keys()


@pytest.mark.parametrize("path", TESTED)
def test_a_field_arrives_at_ec2(client: Client, gate: Gate, samples: Samples, path: str) -> None:
    """This includes fields that moto does not support."""
    before = len(gate.calls)
    with suppress(grpc.RpcError):
        client.create(class_with(samples, TESTED[path]), "m1")
    asked = gate.asked(TESTED[path].action, before)
    assert [call for call in asked if TESTED[path].asked.items() <= call.items()] == asked[:1]


def test_what_a_class_always_says_arrives_at_ec2(
    client: Client, gate: Gate, account: Account, samples: Samples
) -> None:
    client.create(samples.machine_class(), "m1")
    (interface,) = account.fields["networkInterfaces"]
    asked = gate.asked("RunInstances")[-1]
    assert asked["ImageId"] == account.fields["ami"]
    assert asked["NetworkInterface.1.SubnetId"] == interface["subnetID"]
    assert asked["NetworkInterface.1.SecurityGroupId.1"] == interface["securityGroupIDs"][0]
    assert asked["NetworkInterface.1.DeleteOnTermination"] == "true"
    assert asked["BlockDeviceMapping.1.Ebs.DeleteOnTermination"] == "true"


@pytest.mark.parametrize("kind", ["instance", "volume", "network-interface"])
def test_tags_are_those_of_the_class_and_the_drivers_own(
    client: Client, gate: Gate, samples: Samples, kind: str
) -> None:
    client.create(class_with(samples, Field({"tags.team": "blue", "tags.Name": "web"})), "tagged")
    tags = tags_of(gate.asked("RunInstances")[-1], kind)
    assert (tags["team"], tags["Name"], tags["machine-name"]) == ("blue", "web", "tagged")
    assert all(len(value) <= 256 for value in tags.values()), "EC2 accepts no longer tags"


def class_with(samples: Samples, field: Field) -> Any:
    """Return the sample class with the values in a row of the table."""
    spec = json.loads(samples.machine_class().provider_spec)
    spec["networkInterfaces"] *= 2 if any("Interfaces[1]" in path for path in field.given) else 1
    spec = json.loads(json.dumps(spec))
    for path, value in field.given.items():
        *parents, last = [
            int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)
        ]
        holder = spec
        for step in parents:
            holder = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
        if isinstance(holder, list) and last == len(holder):
            holder.append(value)
        else:
            holder[last] = value
    return samples.machine_class(**spec)


def tags_of(call: Call, kind: str) -> dict[str, str]:
    """Return the tags that an instance is launched with."""
    (number,) = (key[: -len("ResourceType")] for key, value in call.items() if value == kind)
    keys = {key: value for key, value in call.items() if key.startswith(f"{number}Tag.")}
    return {keys[key]: keys[f"{key[:-3]}Value"] for key in keys if key.endswith(".Key")}


def paths_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the paths of all fields of a model that do not contain another model."""
    for field in model.model_fields.values():
        path, parts = f"{prefix}{field.alias}", [*models_in(field.annotation)]
        for part, is_listed in parts:
            yield from paths_of(part, f"{path}[]." if is_listed else f"{path}.")
        if not parts:
            yield path


def models_in(
    annotation: Any, *, is_listed: bool = False
) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, is_listed
    for argument in get_args(annotation):
        is_list = getattr(annotation, "__origin__", None) is list
        yield from models_in(argument, is_listed=is_listed or is_list)
