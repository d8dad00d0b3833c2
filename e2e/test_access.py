"""The rendered roles: what they do not allow. All other tests run with what they do allow."""

from e2e.cluster import Cluster

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
