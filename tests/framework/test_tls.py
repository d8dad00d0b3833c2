"""TLS: which clients may connect, renewed files, mistakes found at the start, and health."""

import os
import shutil
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
)
from grpc_health.v1.health_pb2 import HealthCheckResponse

from cmi import Driver
from cmi.client import Client, connect
from cmi.endpoint import Endpoint
from cmi.serving.options import ServerOptions
from cmi.testing import serving
from cmi.tls import TlsError, TlsFiles
from cmi.v1 import cmi_pb2, cmi_pb2_grpc
from tests.certificates import Authority, pem, write
from tests.framework import process
from tests.framework.conftest import LogLines
from tests.framework.support import Gate, StandIn, machine_class
from tests.support import PATIENCE


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("one")


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority("another")


@pytest.fixture
def server_files(authority: Authority, tmp_path: Path) -> TlsFiles:
    return authority.issue(tmp_path / "server")


@pytest.fixture
def client_files(authority: Authority, tmp_path: Path) -> TlsFiles:
    return authority.issue(tmp_path / "client")


def options(files: TlsFiles | None, endpoint: str = "tcp://127.0.0.1:0") -> ServerOptions:
    return ServerOptions(endpoint=Endpoint.parse(endpoint), tls=files, grace_period=1)


@pytest.fixture
def endpoint(server_files: TlsFiles) -> Iterator[Endpoint]:
    """The endpoint of a driver that serves with TLS."""
    with serving(StandIn(), options(server_files)) as endpoint:
        yield endpoint


def name_over(channel: grpc.Channel) -> str:
    """Return the plugin's name, as the driver reports it."""
    stub = cmi_pb2_grpc.IdentityStub(channel)
    return stub.GetPluginInfo(cmi_pb2.GetPluginInfoRequest(), timeout=PATIENCE).name


def is_let_in(endpoint: Endpoint, files: TlsFiles | None) -> bool:
    """Return whether the driver accepts a new connection."""
    try:
        with Client(endpoint, PATIENCE, files) as client:
            return client.probe()
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


def certificate_at(endpoint: Endpoint, files: TlsFiles) -> str:
    """Return the certificate that the driver presents to a new connection, as PEM."""
    context = ssl.create_default_context(cafile=files.ca)
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((endpoint.host, endpoint.port), PATIENCE) as connection,
        context.wrap_socket(connection, server_hostname=endpoint.host) as tls,
    ):
        shown = tls.getpeercert(binary_form=True)
    assert shown
    return ssl.DER_cert_to_PEM_cert(shown)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_client_of_the_ca_is_served(
    server_files: TlsFiles, client_files: TlsFiles, host: str
) -> None:
    with (
        serving(StandIn(), options(server_files, f"tcp://{host}:0")) as endpoint,
        Client(endpoint, tls=client_files) as client,
    ):
        assert client.create(machine_class(), "m1").NodeName == "m1"


def test_all_others_are_turned_away(
    endpoint: Endpoint,
    authority: Authority,
    stranger: Authority,
    client_files: TlsFiles,
    tmp_path: Path,
) -> None:
    assert not is_let_in(endpoint, None)
    assert not is_let_in(endpoint, stranger.issue(tmp_path / "unknown", ca=authority))
    only_ca = grpc.ssl_channel_credentials(client_files.ca.read_bytes())
    with (
        grpc.secure_channel(endpoint.target, only_ca) as channel,
        pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
    ):
        name_over(channel)
    assert is_let_in(endpoint, client_files)


def test_a_client_checks_who_it_talks_to(
    endpoint: Endpoint, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    assert not is_let_in(endpoint, authority.issue(tmp_path / "client", ca=stranger))


def test_a_server_of_another_name_has_to_be_expected(
    authority: Authority, client_files: TlsFiles, tmp_path: Path
) -> None:
    files = authority.issue(tmp_path / "server", x509.DNSName("driver.example"))
    with serving(StandIn(), options(files)) as endpoint:
        assert not is_let_in(endpoint, client_files)
        assert not is_let_in(endpoint, replace(client_files, server_name="other.example"))
        assert is_let_in(endpoint, replace(client_files, server_name="driver.example"))


def test_with_tls_all_addresses_are_served(server_files: TlsFiles, client_files: TlsFiles) -> None:
    with serving(StandIn(), options(server_files, "tcp://0.0.0.0:0")) as endpoint:
        assert is_let_in(replace(endpoint, host="127.0.0.1"), client_files)


def test_a_unix_socket_stays_private_with_tls(
    server_files: TlsFiles, client_files: TlsFiles
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "driver.sock")
        with serving(StandIn(), options(server_files, f"unix://{path}")) as endpoint:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert is_let_in(endpoint, replace(client_files, server_name="localhost"))
            assert not is_let_in(endpoint, None)


def replaced(files: TlsFiles, source: TlsFiles) -> None:
    """Replace the files one after the other."""
    write(files.certificate, source.certificate.read_bytes())
    write(files.key, source.key.read_bytes())
    write(files.ca, source.ca.read_bytes())


def overwritten(files: TlsFiles, source: TlsFiles) -> None:
    """Write new content into the same files."""
    shutil.copyfile(source.certificate, files.certificate)
    shutil.copyfile(source.key, files.key)
    shutil.copyfile(source.ca, files.ca)


def mounted(files: TlsFiles, source: TlsFiles) -> None:
    """Replace the symlink to the folder of the files, as kubelet does for a Secret."""
    link = files.certificate.parent / "..data"
    draft = link.with_name("..data_tmp")
    draft.symlink_to(source.certificate.parent)
    draft.replace(link)


def mount(folder: Path, source: TlsFiles) -> TlsFiles:
    """Create symlinks to the files through another symlink, as kubelet does for a Secret."""
    folder.mkdir()
    (folder / "..data").symlink_to(source.certificate.parent)
    for path in (source.certificate, source.key, source.ca):
        (folder / path.name).symlink_to(Path("..data", path.name))
    return TlsFiles(certificate=folder / "tls.crt", key=folder / "tls.key", ca=folder / "ca.crt")


@pytest.mark.parametrize("renew", [replaced, overwritten, mounted])
def test_renewed_files_are_picked_up(
    authority: Authority,
    stranger: Authority,
    server_files: TlsFiles,
    client_files: TlsFiles,
    tmp_path: Path,
    renew: Callable[[TlsFiles, TlsFiles], None],
) -> None:
    files = mount(tmp_path / "mounted", server_files) if renew is mounted else server_files
    new_clients = stranger.issue(tmp_path / "new-client", ca=authority)
    with (
        serving(StandIn(), options(files)) as endpoint,
        connect(endpoint, client_files) as channel,
    ):
        assert name_over(channel) == "driver.under-test"
        assert certificate_at(endpoint, client_files) == server_files.certificate.read_text()
        renewed = authority.issue(tmp_path / "renewed")
        renew(files, renewed)
        assert certificate_at(endpoint, client_files) == renewed.certificate.read_text()
        assert not is_let_in(endpoint, new_clients)
        renew(files, authority.issue(tmp_path / "other-clients", ca=stranger))
        assert is_let_in(endpoint, new_clients)
        assert not is_let_in(endpoint, client_files)
        assert name_over(channel) == "driver.under-test", "an open connection survives a renewal"


def garbage(files: TlsFiles) -> None:
    write(files.certificate, b"garbage")


def no_ca(files: TlsFiles) -> None:
    files.ca.unlink()


def other_key(files: TlsFiles) -> None:
    write(files.key, pem(ec.generate_private_key(ec.SECP256R1())))


def cut_off(files: TlsFiles) -> None:
    os.truncate(files.key, files.key.stat().st_size // 2)


@pytest.mark.parametrize("damage", [garbage, no_ca, other_key, cut_off])
def test_while_the_renewal_is_broken_the_last_good_files_serve(
    authority: Authority,
    server_files: TlsFiles,
    client_files: TlsFiles,
    endpoint: Endpoint,
    log_lines: LogLines,
    tmp_path: Path,
    damage: Callable[[TlsFiles], None],
) -> None:
    before = server_files.certificate.read_text()
    damage(server_files)
    for _ in range(3):
        assert certificate_at(endpoint, client_files) == before
    renewed = authority.issue(tmp_path / "renewed")
    replaced(server_files, renewed)
    assert certificate_at(endpoint, client_files) == renewed.certificate.read_text()
    warning, news = [line for line in log_lines() if line["logger"] == "cmi.tls"]
    assert warning["level"] == "warning"
    assert "the last good ones stay in use" in warning["message"]
    assert str(server_files.key.parent) in warning["reason"]
    assert news["message"] == "TLS files renewed"


def test_a_certificate_waits_for_its_key(
    authority: Authority,
    server_files: TlsFiles,
    client_files: TlsFiles,
    endpoint: Endpoint,
    tmp_path: Path,
) -> None:
    before, renewed = server_files.certificate.read_text(), authority.issue(tmp_path / "renewed")
    write(server_files.certificate, renewed.certificate.read_bytes())
    assert certificate_at(endpoint, client_files) == before
    write(server_files.key, renewed.key.read_bytes())
    assert certificate_at(endpoint, client_files) == renewed.certificate.read_text()


def test_unchanged_files_are_not_read_again(
    client_files: TlsFiles, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_files: TlsFiles) -> None:
        raise AssertionError

    with connect(endpoint, client_files) as first, connect(endpoint, client_files) as second:
        monkeypatch.setattr(TlsFiles, "read", refuse)
        for channel in (first, second):
            assert name_over(channel) == "driver.under-test"


def encrypted_key(files: TlsFiles) -> None:
    write(files.key, pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"p")))


def no_certificate(files: TlsFiles) -> None:
    files.certificate.unlink()


def folder_for_a_key(files: TlsFiles) -> None:
    files.key.unlink()
    files.key.mkdir()


def certificate_for_a_key(files: TlsFiles) -> None:
    write(files.key, files.certificate.read_bytes())


def key_for_a_ca(files: TlsFiles) -> None:
    write(files.ca, files.key.read_bytes())


NO_KEY = "the TLS key {0.key} is not a private key in PEM without a password"
NOT_ITS_KEY = "the TLS key {0.key} does not match the certificate {0.certificate}: {1}"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            no_certificate,
            "the TLS certificate {0.certificate} can't be read: no such file or directory",
        ),
        (folder_for_a_key, "the TLS key {0.key} can't be read: is a directory"),
        (no_ca, "the TLS CA {0.ca} can't be read: no such file or directory"),
        (garbage, "the TLS certificate {0.certificate} is not a certificate in PEM"),
        (key_for_a_ca, "the TLS CA {0.ca} is not a certificate in PEM"),
        (cut_off, NO_KEY),
        (certificate_for_a_key, NO_KEY),
        (encrypted_key, NO_KEY),
        (other_key, NOT_ITS_KEY),
    ],
)
def test_files_that_can_not_serve_are_refused(
    server_files: TlsFiles, tmp_path: Path, damage: Callable[[TlsFiles], None], message: str
) -> None:
    damage(server_files)
    line = process.refusal(tmp_path, *server_options(server_files))
    assert line == message.format(server_files, "key values mismatch")


def server_options(files: TlsFiles) -> list[str]:
    return [
        f"--tls-cert={files.certificate}",
        f"--tls-key={files.key}",
        f"--tls-client-ca={files.ca}",
    ]


def client_options(files: TlsFiles) -> list[str]:
    return [f"--tls-cert={files.certificate}", f"--tls-key={files.key}", f"--tls-ca={files.ca}"]


@pytest.mark.parametrize("missing", range(3))
def test_all_three_files_are_needed(server_files: TlsFiles, tmp_path: Path, missing: int) -> None:
    given = server_options(server_files)
    del given[missing]
    line = process.refusal(tmp_path, *given)
    assert line == "TLS needs --tls-cert, --tls-key and --tls-client-ca; set all three or none"


def test_an_address_that_others_can_reach_needs_tls(tmp_path: Path) -> None:
    line = process.refusal(tmp_path, "--endpoint=tcp://0.0.0.0:0")
    assert "tcp://0.0.0.0:0 can be reached from other machines" in line
    assert "--tls-cert, --tls-key and --tls-client-ca, or --insecure" in line


def test_comments_in_certificate_files_do_no_harm(server_files: TlsFiles) -> None:
    for path in (server_files.certificate, server_files.ca):
        path.write_bytes("# Ålesund\n".encode() + path.read_bytes())
    assert server_files.read()


def test_the_files_are_checked_at_a_client_too(client_files: TlsFiles) -> None:
    other_key(client_files)
    with pytest.raises(TlsError, match="key values mismatch"):
        Client(Endpoint.parse("tcp://127.0.0.1:1"), tls=client_files)


def test_the_command_line_client_speaks_tls(
    authority: Authority, client_files: TlsFiles, tmp_path: Path
) -> None:
    files = authority.issue(tmp_path / "server", x509.DNSName("driver.example"))
    with process.running(tmp_path, *server_options(files)) as serving:
        to_driver = f"--endpoint={serving['endpoint']}"
        tls = [*client_options(client_files), "--tls-server-name=driver.example"]
        assert process.client(tmp_path, *tls, "probe", to_driver).stdout == "ready\n"
        assert process.client(tmp_path, "probe", to_driver, *tls).stdout == "ready\n"
        assert "rejected the connection" in process.client_refusal(tmp_path, "probe", to_driver)
        assert "--tls-server-name" in process.client_refusal(
            tmp_path, *tls[:-1], "probe", to_driver
        )
        for missing in range(3):
            given = [*tls[:missing], *tls[missing + 1 :]]
            line = process.client_refusal(tmp_path, *given, "probe", to_driver)
            assert line == "TLS needs --tls-cert, --tls-key and --tls-ca; set all three or none"
    client_files.key.unlink()
    line = process.client_refusal(tmp_path, *tls, "probe", to_driver)
    assert line == f"the TLS key {client_files.key} can't be read: no such file or directory"


def health_of(channel: grpc.Channel) -> int:
    check: grpc.UnaryUnaryMultiCallable[bytes, HealthCheckResponse] = channel.unary_unary(
        "/grpc.health.v1.Health/Check", response_deserializer=HealthCheckResponse.FromString
    )
    return check(b"", timeout=PATIENCE).status


@contextmanager
def with_health(driver: Driver, files: TlsFiles | None) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Serve a driver; yield its endpoint and the address of its health service."""
    chosen = replace(
        options(files), health_address=Endpoint.parse("tcp://127.0.0.1:0"), grace_period=PATIENCE
    )
    with process.served(driver, chosen) as (server, endpoint):
        assert server.health_address
        yield endpoint, server.health_address


def test_health_alone_is_served_in_plain_text(
    server_files: TlsFiles, client_files: TlsFiles
) -> None:
    with (
        with_health(StandIn(), server_files) as (endpoint, address),
        connect(address) as plain,
        connect(endpoint, client_files) as secure,
    ):
        assert health_of(plain) == HealthCheckResponse.SERVING
        assert health_of(secure) == HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            name_over(plain)


def test_the_health_on_its_own_address_shows_the_stop(
    server_files: TlsFiles, client_files: TlsFiles, gate: Gate
) -> None:
    with ThreadPoolExecutor() as pool:
        with with_health(StandIn(gate), server_files) as (endpoint, address):
            client, plain = Client(endpoint, tls=client_files), connect(address)
            call = pool.submit(client.create, machine_class(), "m1")
            gate.await_entered()
            watcher: grpc.UnaryStreamMultiCallable[bytes, HealthCheckResponse] = plain.unary_stream(
                "/grpc.health.v1.Health/Watch", response_deserializer=HealthCheckResponse.FromString
            )
            watch = watcher(b"", timeout=PATIENCE)
            assert next(watch).status == HealthCheckResponse.SERVING

            def after_the_stop() -> int:
                try:
                    next(watch)
                    return health_of(plain)
                finally:
                    gate.opened.set()

            seen = pool.submit(after_the_stop)
        assert seen.result(PATIENCE) == HealthCheckResponse.NOT_SERVING
        assert call.result(PATIENCE).NodeName == "m1"
        client.close()
        plain.close()


def test_a_driver_process_reports_where_its_health_is(
    server_files: TlsFiles, tmp_path: Path
) -> None:
    with process.running(
        tmp_path, *server_options(server_files), "--health-address=127.0.0.1:0"
    ) as serving:
        address = Endpoint.parse(f"tcp://{serving['health']}")
        with connect(address) as channel:
            assert health_of(channel) == HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("days", "mode", "mentioned"),
    [
        (90, 0o600, []),
        (90, 0o440, []),
        (90, 0o644, ["read the TLS key", "chmod o-r"]),
        (10, 0o600, ["expires on", "renew it"]),
        (-1, 0o600, ["expired on", "renew it"]),
        (-1, 0o604, ["read the TLS key", "expired on"]),
    ],
)
def test_files_that_need_care_are_warned_of(
    authority: Authority,
    tmp_path: Path,
    log_lines: LogLines,
    days: float,
    mode: int,
    mentioned: list[str],
) -> None:
    files = authority.issue(tmp_path / "server", days=days)
    files.key.chmod(mode)
    with serving(StandIn(), options(files)):
        pass
    warnings = [line["message"] for line in log_lines() if line["level"] == "warning"]
    assert bool(warnings) is bool(mentioned)
    assert all(any(text in warning for warning in warnings) for text in mentioned)


def test_a_python_that_can_not_decode_certificates_serves_too(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function that decodes them is not a public one of the standard library."""
    monkeypatch.delattr("ssl._ssl._test_decode_cert")
    with serving(StandIn(), options(authority.issue(tmp_path / "server", days=-1))):
        pass


def test_a_certificate_that_expires_while_the_driver_runs_is_warned_of(
    authority: Authority,
    client_files: TlsFiles,
    tmp_path: Path,
    log_lines: LogLines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver does not warn at the start, but at a handshake some days later."""
    files = authority.issue(tmp_path / "server", days=90)
    with serving(StandIn(), options(files)) as endpoint:
        assert not [line for line in log_lines() if "expires" in line["message"]]
        monkeypatch.setattr("cmi.tls._SOON", 100 * 24 * 3600)
        monkeypatch.setattr("cmi.tls._AGAIN", 0)
        with Client(endpoint, PATIENCE, client_files) as client:
            client.info()
        assert [line for line in log_lines() if "expires" in line["message"]]
