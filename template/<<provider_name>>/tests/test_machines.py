"""Tests of what the conformance kit can't know: this cloud's values, limits and tokens."""

import json
from typing import Any

import pytest

from cmi.testing import Client, MachineClass, Samples, refused

from ..embedded_cloud import EmbeddedCloud


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"region": "moon-1"}, "INVALID_ARGUMENT", "providerSpec.region"),
        ({"image": "dos-6.22"}, "INVALID_ARGUMENT", "providerSpec.image"),
        ({"machineType": "huge"}, "INVALID_ARGUMENT", "providerSpec.machineType"),
        ({"machineTyp": "typo"}, "INVALID_ARGUMENT", "providerSpec.machineTyp"),
        ({"network": {}}, "INVALID_ARGUMENT", "providerSpec.network.subnet"),
        ({"disks": []}, "INVALID_ARGUMENT", "providerSpec.disks"),
        ({"disks": [{"name": "a", "sizeGiB": "20"}]}, "INVALID_ARGUMENT", "disks[0].sizeGiB"),
        ({"disks": [{"name": "a", "sizeGiB": 1}] * 2}, "INVALID_ARGUMENT", "same name"),
        ({"disks": [{"name": "a", "sizeGiB": 9999}]}, "OUT_OF_RANGE", "disks[0].sizeGiB"),
    ],
    ids=str,
)
def test_an_invalid_spec_is_refused(
    client: Client, samples: Samples, fields: dict[str, Any], code: str, path: str
) -> None:
    """C8, C13: the failed call leaves nothing behind."""
    with refused(code, path):
        client.create(samples.machine_class(**fields), "m1")
    assert client.list_machines(samples.machine_class()) == {}


def test_a_vm_is_created_as_specified(
    client: Client, embedded_cloud: EmbeddedCloud, machine_class: MachineClass
) -> None:
    """Every field of the spec and of the Secret reaches the cloud."""
    client.create(machine_class, "m1")
    spec = json.loads(machine_class.provider_spec)
    (server,) = embedded_cloud.servers()
    assert (server.region, server.image) == (spec["region"], spec["image"])
    assert (server.machine_type, server.subnet) == (spec["machineType"], spec["network"]["subnet"])
    assert [*server.security_groups] == spec["network"]["securityGroups"]
    assert spec["tags"].items() <= server.labels.items()
    user_data = embedded_cloud.user_data(server.id).encode()
    assert user_data == machine_class.secrets["userData"]
    made = [(disk.name, disk.size_gib) for disk in embedded_cloud.disks()]
    assert sorted(made) == sorted((disk["name"], disk["sizeGiB"]) for disk in spec["disks"])


def test_a_vm_is_initialized_once_it_runs(
    client: Client, embedded_cloud: EmbeddedCloud, machine_class: MachineClass
) -> None:
    """C59, C61."""
    created = client.create(machine_class, "m1")
    assert client.status(machine_class, "m1").Uninitialized
    assert [each.Type for each in created.Addresses] == ["InternalIP"]
    client.initialize(machine_class, "m1", created.ProviderID)
    (server,) = embedded_cloud.servers()
    assert server.forwards
    status = client.status(machine_class, "m1")
    assert not status.Uninitialized
    assert [each.Address for each in status.Addresses] == [server.address]


def test_the_quota(client: Client, machine_class: MachineClass) -> None:
    """C13."""
    for number in range(3):
        client.create(machine_class, f"m{number}")
    with refused("RESOURCE_EXHAUSTED", "quota of 3"):
        client.create(machine_class, "m3")
    client.delete(machine_class, "m0")
    client.create(machine_class, "m3")


def test_a_rotated_token_takes_effect_at_the_next_call(
    client: Client, embedded_cloud: EmbeddedCloud, samples: Samples
) -> None:
    """C44."""
    client.create(samples.machine_class(), "m1")
    embedded_cloud.set_token("rotated", "write")
    embedded_cloud.set_token("demo-token", None)
    with refused("UNAUTHENTICATED", "apiToken"):
        client.create(samples.machine_class(), "m1")
    client.create(samples.machine_class({"apiToken": b"rotated"}), "m1")


def test_a_class_that_moved_to_another_region_does_not_hide_its_machines(
    client: Client, samples: Samples
) -> None:
    created = client.create(samples.machine_class(), "m1")
    moved = samples.machine_class(region="south-1")
    assert client.status(moved, "m1", created.ProviderID).ProviderID == created.ProviderID
    client.delete(moved, "m1", created.ProviderID)
    assert client.list_machines(samples.machine_class()) == {}


def test_a_spec_that_became_invalid_does_not_block_a_deletion(
    client: Client, samples: Samples
) -> None:
    client.create(samples.machine_class(), "m1")
    invalid = samples.machine_class({"userData": None}, machineType=None, disks="none")
    client.status(invalid, "m1")
    client.delete(invalid, "m1")
    assert client.list_machines(samples.machine_class()) == {}


def test_volumes(client: Client) -> None:
    """C37, C38."""
    volumes = [
        {"csi": {"driver": "csi.embedded.cloud", "volumeHandle": "v1"}},
        {"csi": {"driver": "csi.elsewhere", "volumeHandle": "v2"}},
        {"flexVolume": {"driver": "embedded.cloud/disk", "options": {"volumeID": "v3"}}},
        {"csi": None, "flexVolume": {"driver": "embedded.cloud/disk"}},
    ]
    assert client.volume_ids(json.dumps(volumes).encode()) == ["v1", "v3"]
