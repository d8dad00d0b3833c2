"""Where a driver listens: which endpoints it accepts, and which it refuses."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cmi import StartupError
from cmi.client import Client
from cmi.endpoint import DEFAULT_ENDPOINT, Endpoint, EndpointError
from cmi.serving.options import ServerOptions
from cmi.testing import serving
from tests.framework.support import StandIn

GOOD = {
    "tcp://127.0.0.1:8080": "127.0.0.1:8080",
    "tcp://localhost:0": "localhost:0",
    "tcp://0.0.0.0:65535": "0.0.0.0:65535",
    "tcp://driver.default.svc:8080": "driver.default.svc:8080",
    "tcp://[::1]:8080": "[::1]:8080",
    "tcp://[2001:db8::7]:1": "[2001:db8::7]:1",
    "unix:///run/driver.sock": "unix:/run/driver.sock",
    "unix:///run/with space.sock": "unix:/run/with%20space.sock",
}

BAD = [
    "",
    " ",
    "127.0.0.1:8080",
    "8080",
    "tcp:127.0.0.1:8080",
    "tcp://",
    "tcp://127.0.0.1",
    "tcp://127.0.0.1:",
    "tcp://:8080",
    "tcp://127.0.0.1:65536",
    "tcp://127.0.0.1:-1",
    "tcp://127.0.0.1:http",
    "tcp://127.0.0.1:8080/",
    "tcp://127.0.0.1:8080\n",
    "tcp://127.0.0.1:８０８０",  # noqa: RUF001 - digits, but not what anybody means by a port
    "tcp://a b:8080",
    "tcp://user@127.0.0.1:80:80",
    "tcp://::1:8080",
    "tcp://[::1]",
    "tcp://[]:8080",
    "tcp://[127.0.0.1]:8080",
    "tcp://[::g]:8080",
    "TCP://127.0.0.1:8080",
    "http://127.0.0.1:8080",
    "aws//127.0.0.1:8080",
    "unix:/run/driver.sock",
    "unix://run/driver.sock",
    "unix:///",
    "unix:///run/",
    "unix://",
    "unix:///" + "x" * 103,
    "unix:///" + "ä" * 52,
]

LOCAL = ["tcp://127.0.0.1:1", "tcp://127.9.9.9:1", "tcp://[::1]:1", "tcp://localhost:1"]
REACHABLE = ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://10.0.0.7:0", "tcp://driver.example:0"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket."""
    with TemporaryDirectory() as path:
        yield Path(path)


def options(endpoint: str | Endpoint, *, insecure: bool = False) -> ServerOptions:
    if isinstance(endpoint, str):
        endpoint = Endpoint.parse(endpoint)
    return ServerOptions(endpoint=endpoint, insecure=insecure, grace_period=1)


def refusal(endpoint: str | Endpoint, *, insecure: bool = False) -> str:
    with (
        pytest.raises(StartupError) as caught,
        serving(StandIn(), options(endpoint, insecure=insecure)),
    ):
        pass
    message = str(caught.value)
    assert str(endpoint) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("text", "target"), GOOD.items())
def test_an_endpoint_is_read_and_written_back(text: str, target: str) -> None:
    endpoint = Endpoint.parse(text)
    assert (endpoint.target, str(endpoint)) == (target, text)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_endpoint_is_refused_with_a_good_one_in_the_message(text: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(text)
    assert repr(text) in str(caught.value)
    assert DEFAULT_ENDPOINT in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "variable", "expected"),
    [
        (None, None, DEFAULT_ENDPOINT),
        (None, "tcp://127.0.0.1:2", "tcp://127.0.0.1:2"),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:1"),
        ("tcp://127.0.0.1:1", "nonsense", "tcp://127.0.0.1:1"),
    ],
)
def test_the_flag_precedes_the_variable_precedes_the_default(
    flag: str | None, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CMI_ENDPOINT", raising=False)
    if variable is not None:
        monkeypatch.setenv("CMI_ENDPOINT", variable)
    assert str(Endpoint.resolve(flag)) == expected


@pytest.mark.parametrize(("flag", "variable"), [(None, ""), ("", "tcp://127.0.0.1:2")])
def test_an_empty_endpoint_is_an_error_and_not_the_default(
    flag: str | None, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMI_ENDPOINT", variable)
    with pytest.raises(EndpointError):
        Endpoint.resolve(flag)


@pytest.mark.parametrize("text", [*LOCAL, "unix:///run/driver.sock"])
def test_loopback_and_sockets_are_local(text: str) -> None:
    assert Endpoint.parse(text).is_local


@pytest.mark.parametrize("text", REACHABLE)
def test_an_address_that_others_can_reach_needs_insecure(text: str) -> None:
    assert "--insecure" in refusal(text)


def test_with_insecure_all_addresses_are_served() -> None:
    with serving(StandIn(), options("tcp://0.0.0.0:0", insecure=True)) as endpoint:
        loopback = Endpoint(host="127.0.0.1", port=endpoint.port)
        with Client(loopback) as client:
            assert client.probe()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_port_0_becomes_a_free_port(host: str) -> None:
    with serving(StandIn(), options(f"tcp://{host}:0")) as endpoint, Client(endpoint) as client:
        assert endpoint.port > 0
        assert client.probe()


def test_ipv6_is_served() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine does not have IPv6")
    with serving(StandIn(), options("tcp://[::1]:0")) as endpoint, Client(endpoint) as client:
        assert str(endpoint).startswith("tcp://[::1]:")
        assert client.probe()


def test_an_occupied_port_is_refused() -> None:
    with serving(StandIn()) as endpoint:
        assert "another process listens there" in refusal(endpoint)
        with Client(endpoint) as client:
            assert client.probe()


def test_a_port_is_free_again_after_the_stop() -> None:
    with serving(StandIn()) as endpoint, Client(endpoint) as client:
        client.probe()
    with serving(StandIn(), options(endpoint)):
        pass


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 64, "192.0.2.1"])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    assert "can't listen" in refusal(f"tcp://{host}:0", insecure=True)


@pytest.mark.parametrize("name", ["driver.sock", "a b.sock", "50%41.sock", "a?b#c.sock", "ü.sock"])
def test_a_unix_socket_is_private_and_gone_after_the_stop(folder: Path, name: str) -> None:
    path = folder / name
    with serving(StandIn(), options(f"unix://{path}")) as endpoint, Client(endpoint) as client:
        assert client.probe()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [entry.name for entry in folder.iterdir()] == [name]
    assert not path.exists()


def test_serving_leaves_the_umask_as_it_was(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        with serving(StandIn(), options(f"unix://{folder}/driver.sock")):
            assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_the_socket_file_of_a_dead_process_is_replaced(folder: Path) -> None:
    path = folder / "driver.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(StandIn(), options(f"unix://{path}")) as endpoint, Client(endpoint) as client:
        assert client.probe()


def test_the_socket_of_a_living_process_is_left_alone(folder: Path) -> None:
    with serving(StandIn(), options(f"unix://{folder}/driver.sock")) as endpoint:
        assert "another process listens there" in refusal(endpoint)
        with Client(endpoint) as client:
            assert client.probe()


def test_a_file_in_the_place_of_the_socket_is_left_alone(folder: Path) -> None:
    path = folder / "notes.txt"
    path.write_text("mine")
    refusal(f"unix://{path}")
    assert path.read_text() == "mine"


def test_a_socket_in_a_folder_that_does_not_exist_is_refused(folder: Path) -> None:
    assert str(folder / "missing") in refusal(f"unix://{folder}/missing/driver.sock")
