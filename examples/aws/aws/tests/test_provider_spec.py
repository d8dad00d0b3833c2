"""What a machine class may say: the ranges of EC2, and what does not go together."""

from typing import Any

import pytest

from cmi.client import MachineClass
from cmi.spec import read_secrets, read_spec

from ..apis.provider_spec import MAX_USER_DATA_BYTES, ProviderSpec, Secrets
from .conftest import SAMPLES, change_for
from .ec2 import Account

NOTHING = Account("", {}, {}, {})
SCOPE = {"kubernetes.io/cluster/c": "1", "kubernetes.io/role/node": "1"}


def sample(**fields: Any) -> MachineClass:
    """Return the samples as they are, with other fields."""
    return change_for("c", NOTHING)(**fields)


def problems(**fields: Any) -> str:
    return "; ".join(read_spec(ProviderSpec, sample(**fields).provider_spec)[1])


def problems_of(**volume: Any) -> str:
    """Return what is wrong with a machine class whose second volume is this one."""
    root = {"deviceName": "/dev/sda1", "sizeGiB": 20}
    return problems(blockDevices=[root, {"deviceName": "/dev/sdf"} | volume])


def test_the_samples_are_valid() -> None:
    assert problems() == ""
    assert read_secrets(Secrets, sample().secrets)[1] == []
    assert (SAMPLES / "machine.yaml").exists()


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
def test_what_ebs_offers_is_taken(volume: dict[str, Any]) -> None:
    assert problems_of(**volume) == ""


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
    ],
    ids=str,
)
def test_what_ebs_does_not_offer_is_refused(volume: dict[str, Any], problem: str) -> None:
    assert problem in problems_of(**volume)


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
        ({"tags": SCOPE | {"Name": "x"}}, "the tag Name is reserved"),
        ({"tags": SCOPE | {"AWS:x": "x"}}, "the tag AWS:x is reserved"),
        ({"tags": SCOPE | {"x": "x" * 257}}, "providerSpec.tags"),
        ({"tags": SCOPE | {"x" * 129: "x"}}, "providerSpec.tags"),
        ({"tags": SCOPE | {f"x{number}": "" for number in range(47)}}, "are over 48"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_does_not_fit_is_named(fields: dict[str, Any], problem: str) -> None:
    """C8."""
    assert problem in problems(**fields)


def test_user_data_has_a_limit() -> None:
    secrets = dict(sample().secrets)
    secrets["userData"] = b"x" * MAX_USER_DATA_BYTES
    assert read_secrets(Secrets, secrets)[1] == []
    secrets["userData"] += b"x"
    assert "secrets.userData: is 16385 bytes" in read_secrets(Secrets, secrets)[1][0]
