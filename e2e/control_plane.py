"""A Kubernetes control plane: etcd and kube-apiserver, with RBAC and an audit log."""

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import lightkube
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Namespace

from e2e.binaries import KUBERNETES
from e2e.process import PATIENCE, Process, await_condition, await_value
from tests.support import TEMPLATE, free_port

ADMIN_TOKEN = "admin-of-the-tests"
NAMESPACE = "default"
SERVICES = "10.0.0.0/24"
NO_CONTROLLERS = "--disable-admission-plugins=ServiceAccount"
"""An option for a control plane without the controller that makes Pods' service accounts."""

_AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
  - level: None
"""


class ControlPlane:
    """A control plane, which ends with `processes`.

    Args:
        folder: For its files and logs.
        processes: Ends what is started here.
        definitions: Whether to install MCM's custom resource definitions.
        address: Where the API server listens.
        port: Its port; a free one if None.
        options: More options for the API server.
        users: More users, without service accounts, and the group of each.

    Attributes:
        server: The URL of the API server.
        kubeconfig: The kubeconfig of the administrator.
        client: A client with the rights of the administrator.
    """

    def __init__(
        self,
        folder: Path,
        processes: ExitStack,
        *,
        definitions: bool = True,
        address: str = "127.0.0.1",
        port: int | None = None,
        options: Sequence[str] = (NO_CONTROLLERS,),
        users: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._folder = folder
        self._processes = processes
        etcd = self._start_etcd()
        self.server = f"https://{address}:{port or free_port()}"
        tokens = {user: (secrets.token_hex(), group) for user, group in users.items()}
        tokens["admin"] = (ADMIN_TOKEN, "system:masters")
        self._start_apiserver(etcd, address, tokens, options)
        for user, (token, _) in tokens.items():
            self._write_kubeconfig(user, token)
        self.kubeconfig = self.kubeconfig_of_user("admin")
        await_value(self._is_ready, wanted=True)
        config = lightkube.KubeConfig.from_file(self.kubeconfig)
        # Its own time limit of 10 s is too short for a long list from a busy API server.
        timeout = httpx2.Timeout(PATIENCE)
        self.client = processes.enter_context(
            lightkube.Client(config=config, timeout=timeout, trust_env=False)
        )
        await_value(self._has_namespaces, wanted=True)
        if definitions:
            self.define(TEMPLATE / "kubernetes/deploy/crds")

    def define(self, definitions: Path) -> None:
        """Apply custom resource definitions, and wait until they can be used.

        `kubectl wait` fails at once for a definition that has no conditions yet, so it is repeated.
        """
        self.kubectl("apply", "-f", definitions)
        established = ("wait", "--for=condition=established", "-f", definitions, "--timeout=60s")
        await_condition(
            lambda: self._kubectl(*established),
            lambda result: result.returncode == 0,
            "the definitions are to be established",
        )

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as the administrator, and return its output."""
        result = self._kubectl(*arguments, stdin=stdin)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def may(self, service_account: str, *action: str) -> bool:
        """Return whether a service account may do an action: verb, resource, options."""
        user = f"system:serviceaccount:{NAMESPACE}:{service_account}"
        answer = self._kubectl("auth", "can-i", *action, "--as", user).stdout.strip()
        assert answer in ("yes", "no"), answer
        return answer == "yes"

    def kubeconfig_of(self, service_account: str) -> Path:
        """Return the kubeconfig of a service account."""
        token = self.kubectl(
            "create", "token", service_account, f"--namespace={NAMESPACE}", "--duration=24h"
        )
        return self._write_kubeconfig(service_account, token.strip())

    def kubeconfig_of_user(self, user: str) -> Path:
        """Return the kubeconfig of the administrator, or of another user without an account."""
        return self._folder / f"{user.replace(':', '-')}.kubeconfig"

    def config_of_user(self, user: str, token: str) -> str:
        """Return the text of a kubeconfig, with which a user logs in by a token."""
        cluster = {"server": self.server, "certificate-authority": str(self.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
            "current-context": "e2e",
        }
        return json.dumps(config)

    @property
    def certificate(self) -> Path:
        """The certificate of the API server, and that of its authority."""
        return self._folder / "apiserver.crt"

    @property
    def signing_key(self) -> Path:
        """The key that signs the tokens of service accounts."""
        return self._folder / "service-accounts.key"

    def refused(self) -> list[str]:
        """Return the actions of service accounts that RBAC refused."""
        return [
            f"{event['user']['username']}: {event['verb']} {event['requestURI']}"
            for event in self._audit()
            if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
            or event["responseStatus"].get("code") == 403
        ]

    def _audit(self) -> Iterator[Mapping[str, Any]]:
        with (self._folder / "audit.jsonl").open() as lines:
            yield from map(json.loads, lines)

    def _start_etcd(self) -> str:
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        command: list[str | Path] = [
            KUBERNETES / "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ]
        self._start("etcd", command)
        return clients

    def _start_apiserver(
        self,
        etcd: str,
        address: str,
        tokens: Mapping[str, tuple[str, str]],
        options: Sequence[str],
    ) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._write(
            self.signing_key.name,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        )
        lines = (f'{token},{user},{user},"{group}"\n' for user, (token, group) in tokens.items())
        command: list[str | Path] = [
            KUBERNETES / "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--bind-address={address}",
            f"--secure-port={self.server.rpartition(':')[2]}",
            f"--cert-dir={self._folder}",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={self._write('tokens.csv', ''.join(lines))}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.signing_key}",
            f"--service-account-signing-key-file={self.signing_key}",
            # These make the API server as strict as in the strictest clusters.
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            f"--audit-policy-file={self._write('audit-policy.yaml', _AUDIT_POLICY)}",
            f"--audit-log-path={self._folder / 'audit.jsonl'}",
            f"--service-cluster-ip-range={SERVICES}",
            *options,
        ]
        self._start("kube-apiserver", command)

    def _start(self, name: str, command: list[str | Path]) -> None:
        self._processes.enter_context(Process(command, self._folder / f"{name}.log"))

    def _write_kubeconfig(self, user: str, token: str) -> Path:
        return self._write(self.kubeconfig_of_user(user).name, self.config_of_user(user, token))

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _is_ready(self) -> bool:
        return self._kubectl("get", "--raw", "/readyz").returncode == 0

    def _has_namespaces(self) -> bool:
        try:
            return all(self.client.get(Namespace, name) for name in (NAMESPACE, "kube-system"))
        except ApiError:
            return False

    def _kubectl(
        self, *arguments: str | Path, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [KUBERNETES / "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
