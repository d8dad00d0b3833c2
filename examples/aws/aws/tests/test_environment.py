"""How the operator's environment affects a driver that gets credentials with each call."""

from pathlib import Path
from typing import Any

import pytest

from cmi.testing import Client, MachineClass, connected, refused

from ..apis.secrets import Credentials
from ..clients import Clients
from ..cloud import Cloud
from ..machineserver import MachineServer
from .gate import Gate, error, failing


def test_throttled_calls_are_repeated(
    gate: Gate, machine_class: MachineClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    throttled = failing(error("RequestLimitExceeded", status=503), times=2)
    with connected(MachineServer(Cloud())) as client, gate.fault(throttled):
        assert client.list_machines(machine_class) == {}


@pytest.mark.usefixtures("gate")
def test_a_request_ends_within_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread can't be stopped, so its machine is busy until the request ends."""
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")
    keys = Credentials.model_validate({"accessKeyID": b"AKIA0000", "secretAccessKey": b"0000"})
    config: Any = Clients().client(keys, "eu-west-1").meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert 2 * (config.connect_timeout + config.read_timeout) <= 30
    assert config.max_pool_connections >= 1000, "the default of --max-calls"


def test_nobody_listens(
    machine_class: MachineClass, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
    with connected(MachineServer(Cloud())) as client:
        with refused("UNAVAILABLE", "http://127.0.0.1:9"):
            client.create(machine_class, "m1")
        assert client.probe()


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE"])
def test_profiles_are_not_read(
    machine_class: MachineClass,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    tmp_path: Path,
    name: str,
) -> None:
    """Credentials come with each call, so the driver must not use those of the operator."""
    (tmp_path / "file").write_text("[default]\nregion = moon-1\nca_bundle = /nowhere\n[broken")
    monkeypatch.setenv(name, str(tmp_path / "file"))
    with connected(MachineServer(Cloud())) as client:
        assert client.probe()
        assert client.list_machines(machine_class) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_CA_BUNDLE", "/no/such/bundle.pem"),
        ("REQUESTS_CA_BUNDLE", __file__),
        ("HTTPS_PROXY", "proxy.example:3128"),
        ("AWS_ENDPOINT_URL", "ec2.example"),
    ],
)
def test_probe_says_what_can_not_be_used(
    client: Client, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """C6."""
    monkeypatch.setenv(name, value)
    with refused("FAILED_PRECONDITION", name):
        client.probe()
    monkeypatch.delenv(name)
    assert client.probe()
