"""Actions that the rendered roles do not allow. All other tests run with the allowed ones."""

import pytest

from e2e.cluster import Cluster
from e2e.control_plane import NAMESPACE

BOTH = {"machine-controller-manager", "machine-controller"}

HOLDERS = {
    ("create", "machines"): {"machine-controller-manager"},
    ("update", "machinedeployments"): {"machine-controller-manager"},
    ("update", "machines"): BOTH,
    ("get", "secrets"): {"machine-controller"},
    ("delete", "nodes"): {"machine-controller"},
    ("create", "pods", "--subresource=eviction"): {"machine-controller"},
    ("get", "secrets", "--namespace=elsewhere"): set(),
    ("list", "machines", "--all-namespaces"): set(),
    ("update", "machineclasses", "--namespace=elsewhere"): set(),
    ("list", "secrets", "--namespace=kube-system"): set(),
    ("get", "leases/somebody-else"): set(),
    ("create", "nodes"): set(),
    ("create", "pods"): set(),
    ("get", "pods", "--subresource=exec"): set(),
    ("create", "clusterrolebindings"): set(),
}
"""Actions, and the service accounts that may do them."""


def test_service_accounts_may_do_what_they_need_and_no_more(cluster: Cluster) -> None:
    may = cluster.control_plane.may
    allowed = {action: {account for account in BOTH if may(account, *action)} for action in HOLDERS}
    assert allowed == HOLDERS


@pytest.mark.parametrize("folder", ["deploy", "deploy/older-mcm"])
def test_deployments_meet_the_restricted_pod_security_standard(
    cluster: Cluster, folder: str
) -> None:
    """The API server checks this, and every warning counts as an error here."""
    restricted = "pod-security.kubernetes.io/warn=restricted"
    cluster.control_plane.kubectl("label", "namespace", NAMESPACE, restricted)
    apply = ("apply", "--dry-run=server", "--warnings-as-errors", "-k")
    cluster.control_plane.kubectl(*apply, cluster.samples / folder)
