"""Machine classes as Gardener writes them. The driver accepts each, or refuses it with a reason.

`classes` contains rewritten classes from Gardener's samples, tests and extension for AWS.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cmi.testing import Client, Samples, refused

from ..apis.provider_spec import ProviderSpec

CLASSES = sorted((Path(__file__).parent / "classes").glob("*.yaml"))
REASONS = {
    "sample-placeholders": ("ami: ", "networkInterfaces[0].securityGroupIDs[0]: "),
    "silently-broken": (
        "monitorring: is an unknown field",
        "blockDevices[0].ebs: iops can't be set for gp2, kmsKeyID needs encrypted: true",
    ),
    "two-reservations": (
        "capacityReservation: has more than one of preference, ID and resource group",
        "iam: needs exactly one of name and arn",
        "networkInterfaces: ",
    ),
}
"""The reasons why some classes are refused."""


@pytest.mark.parametrize("path", CLASSES, ids=lambda path: path.stem)
def test_a_class_is_taken_or_refused(client: Client, samples: Samples, path: Path) -> None:
    spec = json.dumps(yaml.safe_load(path.read_text())["providerSpec"]).encode()
    if reasons := REASONS.get(path.stem):
        with refused("INVALID_ARGUMENT", *(f"providerSpec.{reason}" for reason in reasons)):
            client.create(replace(samples.machine_class(), provider_spec=spec), "m1")
    else:
        ProviderSpec.model_validate_json(spec, by_alias=True, by_name=False)


def test_there_is_a_class_for_each_reason() -> None:
    assert {path.stem for path in CLASSES} > REASONS.keys()
