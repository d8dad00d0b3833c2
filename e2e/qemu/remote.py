"""TLS and a login (SASL), for those who reach a host over the network."""

import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from tests.certificates import Authority

_LIBVIRTD: Final = """
listen_tls = 1
listen_addr = "{address}"
cert_file = "{server.certificate}"
key_file = "{server.key}"
ca_file = "{server.ca}"
auth_tls = "sasl"
"""
_SASL: Final = """\
mech_list: scram-sha-256
sasldb_path: {logins}
"""
_SERVICE: Final = "libvirt"
"""The name under which libvirtd looks for its logins."""


class Login(NamedTuple):
    """What a class's Secret contains for hosts that ask for it.

    The user name names the realm, so it does not depend on the name of this machine.
    """

    username: str
    password: str


class Remote:
    """The way to a host over the network.

    Args:
        folder: For its certificates and logins.
        address: The address of the host.
        login: The only one that it accepts, for clients that also have a certificate.

    Attributes:
        uri: The URI of the host, with the folder of the client's certificate.
        configuration: What its libvirtd.conf has to contain.
        sasl: The folder that has to be libvirtd's `SASL_CONF_PATH`.
    """

    def __init__(self, folder: Path, address: str, login: Login) -> None:
        folder.mkdir()
        authority = Authority("hosts")
        server = authority.issue(folder / "server", x509.IPAddress(ip_address(address)))
        self.configuration = _LIBVIRTD.format(address=address, server=server)
        client = authority.issue(folder / "client")
        names = {client.ca: "cacert", client.certificate: "clientcert", client.key: "clientkey"}
        for file, name in names.items():
            shutil.copy(file, file.with_name(f"{name}.pem"))
        self.uri = f"qemu+tls://{address}/system?pkipath={client.ca.parent}"
        self.sasl = folder / "sasl"
        self._accept(login)

    def _accept(self, login: Login) -> None:
        self.sasl.mkdir()
        logins = self.sasl / "logins"
        (self.sasl / f"{_SERVICE}.conf").write_text(_SASL.format(logins=logins))
        user, _, realm = login.username.partition("@")
        options = ["-p", "-c", "-a", _SERVICE, "-f", str(logins), "-u", realm]
        subprocess.run(["saslpasswd2", *options, user], input=login.password.encode(), check=True)
