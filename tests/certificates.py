"""Certificates for tests, signed by the tests' own authorities."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from cmi.tls import TlsFiles

LOCALHOST = (x509.DNSName("localhost"), *map(x509.IPAddress, map(ip_address, ("127.0.0.1", "::1"))))


class Authority:
    """A CA that issues certificates into folders."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, (), ca=True)

    def issue(
        self,
        folder: Path,
        *names: x509.GeneralName,
        ca: "Authority | None" = None,
        days: float = 90,
    ) -> TlsFiles:
        """Write a new certificate, its key, and the CA to trust, which is this one or another."""
        folder.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        files = TlsFiles(
            certificate=folder / "tls.crt", key=folder / "tls.key", ca=folder / "ca.crt"
        )
        certificate = self._sign(subject, key, names or LOCALHOST, ca=False, days=days)
        write(files.certificate, certificate.public_bytes(Encoding.PEM))
        write(files.key, pem(key))
        files.key.chmod(0o640)
        write(files.ca, (ca or self).certificate.public_bytes(Encoding.PEM))
        return files

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...],
        *,
        ca: bool,
        days: float = 90,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=100))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def pem(
    key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def write(path: Path, content: bytes) -> None:
    """Replace a file atomically, so that it exists at every moment."""
    draft = path.with_suffix(".new")
    draft.write_bytes(content)
    draft.chmod(0o640)
    draft.replace(path)
