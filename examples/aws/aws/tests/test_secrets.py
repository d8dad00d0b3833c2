"""Valid Secrets: keys as people write them, sessions, web identities and user data."""

import gzip

import grpc
import pytest

from cmi.testing import Client, Samples, refused

from .account import Account
from .gate import Gate, answer_of, failing

NOTHING = failing(answer_of("DescribeInstances", "<reservationSet/>"), "DescribeInstances")
ROLE = {"roleARN": b"arn:aws:iam::123456789012:role/gardener"}
NO_KEYS = {"accessKeyID": None, "secretAccessKey": None}


@pytest.mark.parametrize("around", ["{}\n", "\ufeff{}", " {}\r\n"], ids=repr)
def test_what_files_and_editors_put_around_a_key(
    client: Client, account: Account, samples: Samples, around: str
) -> None:
    keys = {key: around.format(value.decode()).encode() for key, value in account.writer.items()}
    assert client.list_machines(samples.machine_class(keys)) == {}


@pytest.mark.parametrize("broken", ['"{}"', "{}\n{}", "{} x", "{}\u00e4", "{}\0"], ids=repr)
@pytest.mark.parametrize("key", ["accessKeyID", "secretAccessKey"])
def test_what_is_no_key_is_refused_and_not_shown(
    client: Client, account: Account, samples: Samples, key: str, broken: str
) -> None:
    """C44, C50: boto3 would quote the header that it can't send."""
    value = account.writer[key].decode()
    machine_class = samples.machine_class({key: broken.format(value, value).encode()})
    with pytest.raises(grpc.RpcError) as caught:
        client.create(machine_class, "m1")
    assert caught.value.code().name == "UNAUTHENTICATED"
    assert f"secrets.{key}" in str(caught.value.details())
    assert value not in str(caught.value.details())


def test_a_key_that_may_only_read(client: Client, account: Account, samples: Samples) -> None:
    """C44."""
    reader = samples.machine_class({**account.reader})
    with refused("PERMISSION_DENIED", "RunInstances"):
        client.create(reader, "m1")
    assert client.list_machines(reader) == {}


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("providerAccessKeyId", "providerSecretAccessKey"),
        ("accessKeyId", "secretAccessKey"),
        ("accessKeyID", "providerSecretAccessKey"),
    ],
)
def test_the_names_of_gardener_are_known(
    client: Client, account: Account, samples: Samples, key: str, secret: str
) -> None:
    named = dict(zip((key, secret), account.writer.values(), strict=True))
    assert client.list_machines(samples.machine_class({**NO_KEYS, **named})) == {}


def test_gardeners_names_count_more(client: Client, account: Account, samples: Samples) -> None:
    """As in Gardener's driver, the other key is considered to be from an older Secret."""
    named = {"providerAccessKeyId": account.writer["accessKeyID"], "accessKeyID": b"AKIAOUTDATED"}
    assert client.list_machines(samples.machine_class(named)) == {}


@pytest.mark.parametrize("missing", ["accessKeyID", "secretAccessKey"])
def test_a_missing_key_is_named(client: Client, samples: Samples, missing: str) -> None:
    """C44, C49."""
    with refused("UNAUTHENTICATED", f"secrets.{missing}: is missing"):
        client.list_machines(samples.machine_class({missing: None}))


def test_a_session_token_is_sent(client: Client, gate: Gate, samples: Samples) -> None:
    with gate.fault(NOTHING), refused("NOT_FOUND"):
        client.status(samples.machine_class({"sessionToken": b"of-an-hour"}), "m1")
    assert gate.calls[-1]["SecurityToken"] == "of-an-hour"


def test_a_workload_identity(client: Client, gate: Gate, samples: Samples) -> None:
    """The driver asks STS once for each token. It ignores the file that Gardener's driver reads."""
    gate.identities |= {"token-1": "AKIAFIRST", "token-2": "AKIASECOND"}
    secrets = {**ROLE, **NO_KEYS, "workloadIdentityTokenFile": b"/etc/hostname"}
    before = len(gate.calls)
    for token, key in ((b"token-1", "FIRST"), (b"token-1\n", "FIRST"), (b"token-2", "SECOND")):
        with gate.fault(NOTHING), refused("NOT_FOUND"):
            client.status(samples.machine_class({**secrets, "token": token}), "m1")
        assert gate.calls[-1]["AccessKey"] == f"AKIA{key}"
        assert gate.calls[-1]["SecurityToken"] == f"session of AKIA{key}"
    asked = gate.asked("AssumeRoleWithWebIdentity", before)
    assert [call["WebIdentityToken"] for call in asked] == ["token-1", "token-2"]
    assert {call["RoleArn"] for call in asked} == {ROLE["roleARN"].decode()}


@pytest.mark.parametrize(
    ("secrets", "code", "problem"),
    [
        ({**ROLE, "token": b"of-nobody"}, "UNAUTHENTICATED", "InvalidIdentityToken"),
        (ROLE, "UNAUTHENTICATED", "secrets.token: is missing"),
        ({"token": b"token-1"}, "UNAUTHENTICATED", "secrets.accessKeyID: is missing"),
        ({"roleARN": b"gardener", "token": b"token-1"}, "UNAUTHENTICATED", "secrets.roleARN"),
    ],
)
def test_a_workload_identity_is_refused(
    client: Client, samples: Samples, secrets: dict[str, bytes], code: str, problem: str
) -> None:
    with refused(code, problem):
        client.list_machines(samples.machine_class({**NO_KEYS, **secrets}))


@pytest.mark.parametrize(
    "user_data",
    [gzip.compress(b"#cloud-config"), bytes(range(256)), b"\xff" * 16_384, "#! \u00e4".encode()],
    ids=["gzip", "binary", "16 KiB", "UTF-8"],
)
def test_user_data_arrives_byte_by_byte(
    client: Client, account: Account, samples: Samples, user_data: bytes
) -> None:
    name = f"user-data-{len(user_data)}"
    client.create(samples.machine_class({"userData": user_data}), name)
    assert account.user_data(name) == user_data


@pytest.mark.parametrize(
    ("user_data", "problem"), [(b"x" * 16_385, "is 16385 bytes"), (b"", "at least 1")]
)
def test_user_data_has_limits(
    client: Client, samples: Samples, user_data: bytes, problem: str
) -> None:
    with refused("INVALID_ARGUMENT", "secrets.userData", problem):
        client.create(samples.machine_class({"userData": user_data}), "m1")
