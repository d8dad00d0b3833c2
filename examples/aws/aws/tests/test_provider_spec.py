"""What a machine class may say: the ranges of EC2, and what does not go together."""

from typing import Any

import pytest

from cmi.testing import Client, Samples, refused

from ..apis.provider_spec import MAX_USER_DATA_BYTES, ProviderSpec

ROOT = {"deviceName": "/dev/sda1", "sizeGiB": 20}
SCOPE = {"kubernetes.io/cluster/c": "1", "kubernetes.io/role/node": "1"}


@pytest.mark.parametrize(
    "volume",
    [
        {"sizeGiB": 1},
        {"sizeGiB": 1, "iops": 3000},
        {"sizeGiB": 65536, "iops": 80000, "throughput": 2000},
        {"sizeGiB": 1, "throughput": 750},
        {"sizeGiB": 1, "type": "gp2"},
        {"sizeGiB": 4, "type": "io1", "iops": 200},
        {"sizeGiB": 4, "type": "io2", "iops": 4000},
        {"sizeGiB": 16384, "type": "st1"},
        {"sizeGiB": 125, "type": "sc1"},
    ],
    ids=str,
)
def test_what_ebs_offers_is_taken(samples: Samples, volume: dict[str, Any]) -> None:
    """Moto would not take it all."""
    devices = [ROOT, {"deviceName": "/dev/sdf"} | volume]
    ProviderSpec.model_validate_json(samples.machine_class(blockDevices=devices).provider_spec)


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        ({"sizeGiB": 0}, "sizeGiB of gp3 is 1 to 65536, not 0"),
        ({"sizeGiB": 65537}, "sizeGiB of gp3 is 1 to 65536, not 65537"),
        ({"sizeGiB": 16385, "type": "gp2"}, "sizeGiB of gp2 is 1 to 16384"),
        ({"sizeGiB": 3, "type": "io1", "iops": 100}, "sizeGiB of io1 is 4 to 16384"),
        ({"sizeGiB": 124, "type": "st1"}, "sizeGiB of st1 is 125 to 16384"),
        ({"sizeGiB": 9, "type": "gp2", "iops": 100}, "iops can't be set for gp2"),
        ({"sizeGiB": 9, "type": "io1"}, "iops is missing, and io1 needs it"),
        ({"sizeGiB": 20, "iops": 10001}, "iops of 20 GiB gp3 is 3000 to 10000, not 10001"),
        ({"sizeGiB": 20, "iops": 2999}, "iops of 20 GiB gp3 is 3000 to 10000, not 2999"),
        ({"sizeGiB": 9, "type": "io1", "iops": 451}, "iops of 9 GiB io1 is 100 to 450, not 451"),
        ({"sizeGiB": 9, "type": "io2", "iops": 9001}, "iops of 9 GiB io2 is 100 to 9000"),
        ({"sizeGiB": 9, "throughput": 751}, "throughput 751 needs at least 3004 iops"),
        ({"sizeGiB": 9, "type": "gp2", "throughput": 125}, "throughput can't be set for gp2"),
        ({"sizeGiB": 0, "type": "st1", "iops": 1}, "not 0, iops can't be set for st1"),
        ({"sizeGiB": 9, "throughput": 124}, "blockDevices[1].throughput"),
        ({"sizeGiB": 9, "throughput": 2001}, "blockDevices[1].throughput"),
        ({"sizeGiB": "9"}, "blockDevices[1].sizeGiB"),
        ({"sizeGiB": 9, "type": "ssd"}, "blockDevices[1].type"),
        ({"sizeGiB": 9, "deviceName": "sdf"}, "blockDevices[1].deviceName"),
        ({"sizeGiB": 9, "deviceName": "/dev/sda1"}, "have the same deviceName"),
        ({"sizeGiB": 9, "deviceName": "/root"}, "/root is not the first"),
    ],
    ids=str,
)
def test_what_ebs_does_not_offer_is_refused(
    client: Client, samples: Samples, volume: dict[str, Any], problem: str
) -> None:
    devices = [ROOT, {"deviceName": "/dev/sdf"} | volume]
    with refused("INVALID_ARGUMENT", problem):
        client.create(samples.machine_class(blockDevices=devices), "m1")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"region": "Ireland"}, "providerSpec.region"),
        ({"region": "eu-west"}, "providerSpec.region"),
        ({"ami": "linux"}, "providerSpec.ami"),
        ({"machineType": "large"}, "providerSpec.machineType"),
        ({"machineTyp": "m7i.large"}, "providerSpec.machineTyp"),
        ({"subnet": None}, "providerSpec.subnet: is missing"),
        ({"securityGroups": []}, "providerSpec.securityGroups"),
        ({"securityGroups": ["default"]}, "providerSpec.securityGroups[0]"),
        ({"blockDevices": []}, "providerSpec.blockDevices"),
        (
            {"blockDevices": [{"deviceName": "/dev/sda1", "sizeGiB": 125, "type": "sc1"}]},
            "the first block device boots, and sc1 can't",
        ),
        ({"iamInstanceProfile": "a/b"}, "providerSpec.iamInstanceProfile"),
        ({"spot": {"maxPrice": "cheap"}}, "providerSpec.spot.maxPrice"),
        ({"spot": True}, "providerSpec.spot"),
        ({"tags": {}}, "kubernetes.io/cluster/"),
        ({"tags": SCOPE | {"machine-name": "x"}}, "the tag machine-name is reserved"),
        ({"tags": SCOPE | {"AWS:x": "x"}}, "the tag AWS:x is reserved"),
        ({"tags": SCOPE | {"x": "x" * 257}}, "providerSpec.tags"),
        ({"tags": SCOPE | {"x" * 129: "x"}}, "providerSpec.tags"),
        ({"tags": SCOPE | {f"x{number}": "" for number in range(46)}}, "are over 50"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_does_not_fit_is_named(
    client: Client, samples: Samples, fields: dict[str, Any], problem: str
) -> None:
    """C8."""
    with refused("INVALID_ARGUMENT", problem):
        client.create(samples.machine_class(**fields), "m1")


def test_user_data_has_a_limit(client: Client, samples: Samples) -> None:
    client.create(samples.machine_class({"userData": b"x" * MAX_USER_DATA_BYTES}), "m1")
    with refused("INVALID_ARGUMENT", "secrets.userData: is 16385 bytes"):
        client.create(samples.machine_class({"userData": b"x" * (MAX_USER_DATA_BYTES + 1)}), "m2")
