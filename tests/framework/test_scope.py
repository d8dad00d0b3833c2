"""Where machine classes of real clouds say which cluster and role their machines belong to."""

import json
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from cmi import ClusterScope, ScopeTags, SpecModel, TaggedScope
from cmi.spec import read_spec

DASHED = ScopeTags(cluster_prefix="kubernetes-io-cluster-", role_prefix="kubernetes-io-role-")
DOTTED = ScopeTags(cluster_prefix="kubernetes.io-cluster-", role_prefix="kubernetes.io-role-")


class AzureScope(TaggedScope):
    """A map with other prefixes."""

    scope_tags = DOTTED


class GcpScope(ClusterScope):
    """A list of names."""

    tags: Annotated[tuple[str, ...], AfterValidator(DASHED.check)]

    @property
    def cluster(self) -> str:
        return DASHED.cluster(self.tags)

    @property
    def role(self) -> str:
        return DASHED.role(self.tags)


class EquinixScope(ClusterScope):
    """A list of `"name: value"`."""

    tags: Annotated[tuple[str, ...], AfterValidator(ScopeTags().check)]

    @property
    def cluster(self) -> str:
        return ScopeTags().cluster(self.tags)

    @property
    def role(self) -> str:
        return ScopeTags().role(self.tags)


class OpenStackSpec(SpecModel, extra="ignore"):
    tags: Annotated[dict[str, str], AfterValidator(DOTTED.check)]


class OpenStackScope(ClusterScope):
    """Nested."""

    spec: OpenStackSpec

    @property
    def cluster(self) -> str:
        return DOTTED.cluster(self.spec.tags)

    @property
    def role(self) -> str:
        return DOTTED.role(self.spec.tags)


class HetznerScope(ClusterScope):
    """A plain field, and no role."""

    cluster_name: str

    @property
    def cluster(self) -> str:
        return self.cluster_name

    @property
    def role(self) -> str:
        return "node"


DEFAULT = {"kubernetes.io/cluster/one": "1", "kubernetes.io/role/node": "1", "team": "a"}
DOTTED_TAGS = {"kubernetes.io-cluster-one": "1", "kubernetes.io-role-node": "1"}
GOOD: list[tuple[type[ClusterScope], dict[str, Any]]] = [
    (TaggedScope, {"tags": DEFAULT}),
    (AzureScope, {"tags": DOTTED_TAGS}),
    (GcpScope, {"tags": ["team-a", "kubernetes-io-cluster-one", "kubernetes-io-role-node"]}),
    (EquinixScope, {"tags": ["kubernetes.io/cluster/one: 1", "kubernetes.io/role/node: 1"]}),
    (OpenStackScope, {"apiVersion": "v1", "kind": "Spec", "spec": {"tags": DOTTED_TAGS}}),
    (HetznerScope, {"clusterName": "one"}),
]


@pytest.mark.parametrize(("scope", "spec"), GOOD)
def test_cluster_and_role_are_found(scope: type[ClusterScope], spec: dict[str, Any]) -> None:
    read, problems = read_spec(scope, json.dumps({**spec, "image": "linux"}).encode())
    assert problems == []
    assert read is not None
    assert (read.cluster, read.role) == ("one", "node")


@pytest.mark.parametrize(
    ("scope", "spec", "path"),
    [
        (TaggedScope, {"tags": {}}, "providerSpec.tags"),
        (TaggedScope, {"tags": {"kubernetes.io/cluster/one": "1"}}, "providerSpec.tags"),
        (TaggedScope, {"tags": DEFAULT | {"kubernetes.io/cluster/two": "1"}}, "providerSpec.tags"),
        (TaggedScope, {"tags": {"kubernetes.io/cluster/": "1"}}, "providerSpec.tags"),
        (AzureScope, {"tags": DEFAULT}, "providerSpec.tags"),
        (GcpScope, {"tags": ["kubernetes-io-cluster-one"]}, "providerSpec.tags"),
        (GcpScope, {"tags": DEFAULT}, "providerSpec.tags"),
        (EquinixScope, {"tags": ["kubernetes.io/role/node: 1"]}, "providerSpec.tags"),
        (OpenStackScope, {"spec": {"tags": {}}}, "providerSpec.spec.tags"),
        (OpenStackScope, {}, "providerSpec.spec"),
        (HetznerScope, {"clusterName": ""}, "providerSpec"),
        (HetznerScope, {}, "providerSpec.clusterName"),
    ],
)
def test_a_spec_of_every_cluster_is_refused(
    scope: type[ClusterScope], spec: dict[str, Any], path: str
) -> None:
    """C33, whether the author's scope checks it or not."""
    read, problems = read_spec(scope, json.dumps(spec).encode())
    assert read is None
    assert [problem.partition(":")[0] for problem in problems] == [path]
