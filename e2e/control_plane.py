"""A Kubernetes control plane: etcd and kube-apiserver, with RBAC and an audit log."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import lightkube
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Namespace

from e2e.binaries import KUBERNETES
from e2e.process import PATIENCE, Process, await_value
from tests.support import TEMPLATE, free_port

ADMIN_TOKEN = "admin-of-the-tests"
NAMESPACE = "default"

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
        definitions: Whether MCM's custom resource definitions are there.

    Attributes:
        kubeconfig: The administrator's.
        client: The administrator's, too.
    """

    def __init__(self, folder: Path, processes: ExitStack, *, definitions: bool = True) -> None:
        self._folder = folder
        self._processes = processes
        etcd = self._start_etcd()
        self._server = f"https://127.0.0.1:{free_port()}"
        self._start_apiserver(etcd)
        self.kubeconfig = self._write_kubeconfig("admin", ADMIN_TOKEN)
        await_value(self._is_ready, wanted=True)
        config = lightkube.KubeConfig.from_file(self.kubeconfig)
        # Its own time limit of 10 s is too short for a long list from a busy API server.
        timeout = httpx2.Timeout(PATIENCE)
        self.client = processes.enter_context(
            lightkube.Client(config=config, timeout=timeout, trust_env=False)
        )
        await_value(self._has_namespaces, wanted=True)
        if definitions:
            self.kubectl("apply", "-f", TEMPLATE / "kubernetes/deploy/crds")
            self.kubectl("wait", "--for=condition=established", "--all", "crds", "--timeout=60s")

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as the administrator, and return its output."""
        result = self._kubectl(*arguments, stdin=stdin)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def may(self, service_account: str, *action: str) -> bool:
        """Return whether a service account may do something: verb, resource, options."""
        user = f"system:serviceaccount:{NAMESPACE}:{service_account}"
        answer = self._kubectl("auth", "can-i", *action, "--as", user).stdout.strip()
        assert answer in ("yes", "no"), answer
        return answer == "yes"

    def kubeconfig_of(self, service_account: str) -> Path:
        """Return the kubeconfig of a service account."""
        token = self.kubectl("create", "token", service_account, f"--namespace={NAMESPACE}")
        return self._write_kubeconfig(service_account, token.strip())

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

    def _start_apiserver(self, etcd: str) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        signing_key = self._write(
            "service-accounts.key",
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        )
        tokens = self._write("tokens.csv", f'{ADMIN_TOKEN},admin,admin,"system:masters"\n')
        command: list[str | Path] = [
            KUBERNETES / "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._server.rpartition(':')[2]}",
            f"--cert-dir={self._folder}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={signing_key}",
            f"--service-account-signing-key-file={signing_key}",
            # Nobody makes the service accounts of pods here.
            "--disable-admission-plugins=ServiceAccount",
            # As strict as clusters get.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--audit-policy-file={self._write('audit-policy.yaml', _AUDIT_POLICY)}",
            f"--audit-log-path={self._folder / 'audit.jsonl'}",
            "--service-cluster-ip-range=10.0.0.0/24",
        ]
        self._start("kube-apiserver", command)

    def _start(self, name: str, command: list[str | Path]) -> None:
        self._processes.enter_context(Process(command, self._folder / f"{name}.log"))

    def _write_kubeconfig(self, user: str, token: str) -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "e2e",
                    "cluster": {
                        "server": self._server,
                        "certificate-authority": str(self._folder / "apiserver.crt"),
                    },
                }
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
            "current-context": "e2e",
        }
        return self._write(f"{user}.kubeconfig", json.dumps(config))

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
