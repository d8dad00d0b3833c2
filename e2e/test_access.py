"""The rendered roles: what they do not allow. All other tests run with what they do allow."""

import pytest

from e2e.cluster import Cluster
from e2e.control_plane import NAMESPACE

BOTH = ("machine-controller-manager", "machine-controller")


def test_service_accounts_may_not_do_more_than_they_need(cluster: Cluster) -> None:
    for account in BOTH:
        for action in (
            ("get", "secrets", "--namespace=elsewhere"),
            ("list", "machines", "--all-namespaces"),
            ("list", "secrets", "--namespace=kube-system"),
            ("create", "pods"),
            ("create", "nodes"),
            ("get", "pods", "--subresource=exec"),
            ("update", "machineclasses", "--namespace=elsewhere"),
            ("create", "clusterrolebindings"),
            ("get", "leases/somebody-else"),
        ):
            assert not cluster.control_plane.may(account, *action), (account, action)


@pytest.mark.parametrize(
    ("action", "holder"),
    [
        (("create", "machines"), "machine-controller-manager"),
        (("update", "machinedeployments"), "machine-controller-manager"),
        (("get", "secrets"), "machine-controller"),
        (("delete", "nodes"), "machine-controller"),
        (("create", "pods", "--subresource=eviction"), "machine-controller"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_each_process_has_its_own_access(
    cluster: Cluster, action: tuple[str, ...], holder: str
) -> None:
    allowed = {account for account in BOTH if cluster.control_plane.may(account, *action)}
    assert allowed == {holder}


@pytest.mark.parametrize("folder", ["deploy", "deploy/older-mcm"])
def test_deployments_meet_the_restricted_pod_security_standard(
    cluster: Cluster, folder: str
) -> None:
    """As the API server judges them, of which any warning is an error here."""
    restricted = "pod-security.kubernetes.io/warn=restricted"
    cluster.control_plane.kubectl("label", "namespace", NAMESPACE, restricted)
    apply = ("apply", "--dry-run=server", "--warnings-as-errors", "-k")
    cluster.control_plane.kubectl(*apply, cluster.samples / folder)
