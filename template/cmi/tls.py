"""Mutual TLS (mTLS), with PEM files that may be renewed in place."""

import logging
import math
import ssl
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from cmi.errors import StartupError

log = logging.getLogger(__name__)

_SOON = 14 * 24 * 3600
"""Seconds before a certificate's expiry at which warnings begin."""
_AGAIN = 24 * 3600
"""The minimum number of seconds between two warnings; handshakes trigger them."""


class TlsError(StartupError):
    """A TLS option or file is invalid; the message says which one and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The PEM files of one side of a connection.

    Attributes:
        certificate: Its own certificate, followed by any intermediate certificates.
        key: The private key of the certificate, not encrypted.
        ca: One or several CAs, one of which must have issued the other side's certificate.
        server_name: The name in the server's certificate, if it is not the address that a
            client calls. Servers ignore it.
    """

    certificate: Path
    key: Path
    ca: Path
    server_name: str = ""

    @classmethod
    def resolve(
        cls,
        certificate: Path | None,
        key: Path | None,
        ca: Path | None,
        *,
        ca_option: str,
        server_name: str = "",
    ) -> "TlsFiles | None":
        """Return the files that the options name, or None if there are no options.

        Raises:
            TlsError: Only some of the options are set.
        """
        if certificate and key and ca:
            return cls(certificate=certificate, key=key, ca=ca, server_name=server_name)
        if certificate or key or ca or server_name:
            raise TlsError(
                f"TLS needs --tls-cert, --tls-key and {ca_option}; set all three or none"
            )
        return None

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Return CA, key and certificate in PEM, after checking that key and certificate match.

        Raises:
            TlsError: A file can't be read or is not PEM, or the key does not match.
        """
        ca, key = _read("CA", self.ca), _read("key", self.key)
        certificate = _read("certificate", self.certificate)
        _check_certificates("CA", self.ca, ca)
        _check_certificates("certificate", self.certificate, certificate)
        try:
            # Without this argument, OpenSSL would ask for a password on the terminal.
            _context().load_cert_chain(self.certificate, self.key, password="")
        except ssl.SSLError as error:
            if not error.reason:
                raise TlsError(
                    f"the TLS key {self.key} is not a private key in PEM without a password"
                ) from None
            raise TlsError(
                f"the TLS key {self.key} does not match the certificate {self.certificate}: "
                f"{error.reason.replace('_', ' ').lower()}"
            ) from None
        except OSError as error:
            raise _unreadable("certificate or key", self.certificate, error) from None
        return ca, key, certificate

    def warnings(self) -> list[str]:
        """Return problems that don't prevent the files from working, and what to do about them."""
        found = []
        if self.key.stat().st_mode & stat.S_IROTH:
            found.append(
                f"every user of this machine can read the TLS key {self.key}; remove that "
                "permission (chmod o-r, or defaultMode: 0440 of a Secret's volume)"
            )
        ends = _end_of(self.certificate)
        left = ends - time.time()
        if left < _SOON:
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ends))
            state = "expired on" if left < 0 else "expires on"
            found.append(
                f"the TLS certificate {self.certificate} {state} {day}, and the other side refuses "
                "an expired one; renew it"
            )
        return found

    def stamps(self) -> list[tuple[int, ...] | None]:
        """Return a value that changes whenever one of the files changes, even through a symlink."""
        return [_stamp(path) for path in (self.certificate, self.key, self.ca)]


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Return the credentials of a client.

    Raises:
        TlsError: The files are invalid.
    """
    return grpc.ssl_channel_credentials(*files.read())


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return the credentials of a server, which are updated when the files change.

    Raises:
        TlsError: The files are invalid.
    """
    renewal = _Renewal(files)
    return grpc.dynamic_ssl_server_credentials(
        renewal.load(),
        renewal,  # type: ignore[arg-type] # the stubs don't know None, which means unchanged
        require_client_authentication=True,
    )


class _Renewal:
    """Rereads the files when they have changed. gRPC calls it before each handshake.

    Certificate and key may be replaced one after the other. While they don't match or can't be
    read, the last good ones stay in use.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._warned = 0.0
        # Taken before the files are read, so that the next handshake notices a change in between.
        self._stamps = files.stamps()

    def load(self) -> grpc.ServerCertificateConfiguration:
        ca, key, certificate = self._files.read()
        self._warn()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], ca)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        stamps = self._files.stamps()
        if stamps == self._stamps:
            if time.monotonic() > self._warned + _AGAIN:
                self._warn()
            return None
        self._stamps = stamps
        try:
            renewed = self.load()
        except TlsError as error:
            log.warning(
                "the changed TLS files are not used; the last good ones stay in use",
                extra={"fields": {"reason": error}},
            )
            return None
        log.info("TLS files renewed")
        return renewed

    def _warn(self) -> None:
        self._warned = time.monotonic()
        try:
            for warning in self._files.warnings():
                log.warning(warning)
        except OSError:
            log.warning("the TLS files can't be read any more", exc_info=True)


def _end_of(certificate: Path) -> float:
    """Return when the first certificate of a file ends, in seconds since the epoch.

    The standard library decodes any certificate with a private function; its public ones only
    decode CAs, and the other side of a connection. Without that function there are no warnings.
    """
    try:
        decoded = ssl._ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]
    except AttributeError:
        return math.inf
    return ssl.cert_time_to_seconds(decoded["notAfter"])


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # The last value also changes with owner and mode, so that files can become readable again.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(what: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(what, path, error) from None


def _check_certificates(what: str, path: Path, pem: bytes) -> None:
    try:
        # Besides certificates, a file may contain comments in any encoding.
        _context().load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise TlsError(f"the TLS {what} {path} is not a certificate in PEM") from None


def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _unreadable(what: str, path: Path, error: OSError) -> TlsError:
    reason = (error.strerror or str(error)).lower()
    return TlsError(f"the TLS {what} {path} can't be read: {reason}")
