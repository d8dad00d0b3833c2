"""Where the machine classes of real clouds name the cluster and the role of their machines."""

import json
from typing import Any

import pytest

from cmi import ClusterScope, TaggedScope
from cmi.spec import read_spec
from tests.scopes import Dashed, Dotted, Named, Nested, Plain

DEFAULT = {"kubernetes.io/cluster/one": "1", "kubernetes.io/role/node": "1", "team": "a"}
DOTTED_TAGS = {"kubernetes.io-cluster-one": "1", "kubernetes.io-role-node": "1"}
GOOD: list[tuple[type[ClusterScope], dict[str, Any]]] = [
    (TaggedScope, {"tags": DEFAULT}),
    (Dotted, {"tags": DOTTED_TAGS}),
    (Dashed, {"tags": ["team-a", "kubernetes-io-cluster-one", "kubernetes-io-role-node"]}),
    (Named, {"tags": ["kubernetes.io/cluster/one: 1", "kubernetes.io/role/node: 1"]}),
    (Nested, {"apiVersion": "v1", "kind": "Spec", "spec": {"tags": DOTTED_TAGS}}),
    (Plain, {"clusterId": "one"}),
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
        (Dotted, {"tags": DEFAULT}, "providerSpec.tags"),
        (Dashed, {"tags": ["kubernetes-io-cluster-one"]}, "providerSpec.tags"),
        (Dashed, {"tags": DEFAULT}, "providerSpec.tags"),
        (Named, {"tags": ["kubernetes.io/role/node: 1"]}, "providerSpec.tags"),
        (Nested, {"spec": {"tags": {}}}, "providerSpec.spec.tags"),
        (Nested, {}, "providerSpec.spec"),
        (Plain, {"clusterId": ""}, "providerSpec"),
        (Plain, {}, "providerSpec.clusterId"),
    ],
)
def test_a_spec_of_every_cluster_is_refused(
    scope: type[ClusterScope], spec: dict[str, Any], path: str
) -> None:
    """C33: the spec is refused even if the author's scope does not check it."""
    read, problems = read_spec(scope, json.dumps(spec).encode())
    assert read is None
    assert [problem.partition(":")[0] for problem in problems] == [path]
