"""What users deploy: the manifests in `kubernetes`, and how an image is published."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support import TEMPLATE

DEPLOY = TEMPLATE / "kubernetes/deploy"
VARIANTS = {
    "today": DEPLOY / "kustomization.yaml.jinja",
    "older": DEPLOY / "older-mcm/kustomization.yaml.jinja",
}


def manifests(variant: str) -> Iterator[dict[str, Any]]:
    """Yield the manifests that one `kubectl apply -k` applies, except for the roles."""
    kustomization = VARIANTS[variant]
    text = re.sub("<<.*?>>", "x", kustomization.read_text())
    for resource in yaml.safe_load(text)["resources"]:
        path = kustomization.parent / resource
        if path.is_file():
            yield from yaml.safe_load_all(path.read_text())


def of_kind(variant: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the manifests of a kind, by their names."""
    return {
        manifest["metadata"]["name"]: manifest
        for manifest in manifests(variant)
        if manifest["kind"] == kind
    }


def has_driver(deployment: dict[str, Any]) -> bool:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return any(container["name"] == "driver" for container in containers)


def rules(variant: str, pod: dict[str, str], direction: str) -> list[dict[str, Any]]:
    """Return all rules that apply to a Pod with these labels."""
    return [
        rule
        for policy in of_kind(variant, "NetworkPolicy").values()
        if policy["spec"]["podSelector"]["matchLabels"].items() <= pod.items()
        for rule in policy["spec"].get(direction, [])
    ]


def ports(rules: list[dict[str, Any]]) -> set[tuple[str, int]]:
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


@pytest.mark.parametrize("variant", VARIANTS)
class TestEveryPod:
    def test_two_drivers_never_run_at_once(self, variant: str) -> None:
        """A rolling update would start the new one first."""
        drivers = [d for d in of_kind(variant, "Deployment").values() if has_driver(d)]
        assert len(drivers) == 1
        assert drivers[0]["spec"]["replicas"] == 1
        assert drivers[0]["spec"]["strategy"] == {"type": "Recreate"}

    def test_is_closed_both_ways_but_for_what_policies_allow(self, variant: str) -> None:
        policies = of_kind(variant, "NetworkPolicy")
        for name, deployment in of_kind(variant, "Deployment").items():
            assert policies[name]["spec"]["policyTypes"] == ["Ingress", "Egress"]
            assert policies[name]["spec"]["podSelector"] == deployment["spec"]["selector"]

    def test_serves_metrics_to_those_who_are_let_in_and_nothing_else(self, variant: str) -> None:
        """Kubelet's probes need no rule, so other ports stay closed."""
        for deployment in of_kind(variant, "Deployment").values():
            template = deployment["spec"]["template"]
            named = {
                port["containerPort"]: port["name"]
                for container in template["spec"]["containers"]
                for port in container["ports"]
            }
            incoming = rules(variant, template["metadata"]["labels"], "ingress")
            for rule in incoming:
                (source,) = rule["from"]
                assert source == {"namespaceSelector": {"matchLabels": {"metrics": "enabled"}}}
            assert {named[port] for _, port in ports(incoming)} == {*named.values()} - {"health"}

    def test_looks_names_up_also_where_dns_is_behind_another_port(self, variant: str) -> None:
        """A policy applies to the port of the Pod, which may differ from that of the service."""
        for deployment in of_kind(variant, "Deployment").values():
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            reached = ports(rules(variant, labels, "egress"))
            assert {(p, n) for p in ("UDP", "TCP") for n in (53, 8053)} <= reached


def documents(name: str) -> list[dict[str, Any]]:
    """Return the documents in a file of `kubernetes`, with `x` in place of each answer."""
    text = (TEMPLATE / "kubernetes" / name).read_text()
    return [*yaml.safe_load_all(re.sub("<<.*?>>", "x", text))]


class TestMachineDeployment:
    def test_mcm_can_count_its_machines(self) -> None:
        """MCM's canMarkMachineFailed counts by the label `name` to replace only a few at once."""
        (deployment,) = documents("machine-deployment.yaml.jinja")
        name = deployment["metadata"]["name"]
        assert deployment["spec"]["template"]["metadata"]["labels"]["name"] == name
        assert deployment["spec"]["selector"] == {"matchLabels": {"name": name}}

    def test_it_can_be_scaled_from_zero(self) -> None:
        """MCM's validateNodeTemplate requires these fields, with values that are not empty."""
        (machine_class,) = documents("machine-class.yaml.jinja")
        node = machine_class["nodeTemplate"]
        assert {"cpu", "gpu", "memory"} <= node["capacity"].keys()
        assert all(node[field] for field in ("instanceType", "region", "zone"))

    def test_mcm_keeps_away_from_the_nodes_that_it_makes(self) -> None:
        """The affinity avoids nodes with the label that the sample gives to its nodes.

        A preference is not enough: on a real cluster, the scheduler ignored it to spread the Pods.
        """
        (machines,) = documents("machine-deployment.yaml.jinja")
        labels = machines["spec"]["template"]["spec"]["nodeTemplate"]["metadata"]["labels"]
        for variant in VARIANTS:
            for deployment in of_kind(variant, "Deployment").values():
                affinity = deployment["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
                required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
                (term,) = required["nodeSelectorTerms"]
                (expression,) = term["matchExpressions"]
                assert expression["operator"] == "DoesNotExist"
                assert expression["key"] in labels


def test_a_priority_class_is_there_for_every_pod() -> None:
    for deployment in of_kind("today", "Deployment").values():
        name = deployment["spec"]["template"]["spec"]["priorityClassName"]
        assert name in of_kind("today", "PriorityClass")


def test_prometheus_scrapes_every_port_that_has_metrics() -> None:
    """The annotation covers all ports that a Pod declares. The operator needs a list of them."""
    monitors = documents("deploy/prometheus-operator/pod-monitors.yaml")
    told = {
        monitor["spec"]["selector"]["matchLabels"]["app"]: {
            endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]
        }
        for monitor in monitors
    }
    for variant, names in (("today", told), ("older", {})):
        for name, deployment in of_kind(variant, "Deployment").items():
            template = deployment["spec"]["template"]
            assert template["metadata"]["annotations"] == {"prometheus.io/scrape": "true"}
            declared = {
                port["name"]
                for container in template["spec"]["containers"]
                for port in container["ports"]
            }
            assert "health" not in declared
            assert names.get(name, declared) == declared


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    """Grafana's grid has 24 columns."""
    board = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    cells = [
        (x, y)
        for panel in board["panels"]
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len({*cells})
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_where_the_driver_may_connect_to_is_one_file() -> None:
    assert {*of_kind("today", "NetworkPolicy")} - {*of_kind("today", "Deployment")} == {"cloud-api"}
    (cloud,) = yaml.safe_load_all((DEPLOY / "cloud-api.yaml").read_text())
    assert cloud["spec"]["policyTypes"] == ["Egress"]
    driver = of_kind("today", "Deployment")["machine-controller"]
    assert cloud["spec"]["podSelector"] == driver["spec"]["selector"]


PUBLISHING = [".github/workflows/release.yml", ".gitlab-ci.yml"]


def test_an_image_is_published_with_all_that_says_where_it_is_from() -> None:
    """Its provenance also contains the digests of the base images."""
    makefile = (TEMPLATE / "Makefile.jinja").read_text()
    recipe = makefile.partition("\npublish-driver:")[2].partition("\n\n")[0]
    for option in ("--sbom=true", "--provenance=mode=max", "--metadata-file build/image.json"):
        assert option in recipe
    assert "PLATFORMS ?= linux/amd64,linux/arm64\n" in makefile


@pytest.mark.parametrize("name", PUBLISHING)
def test_a_published_image_is_signed_by_its_digest(name: str) -> None:
    """The tag may refer to another image in the meantime."""
    text = (TEMPLATE / name).read_text()
    published, signed = text.index("make publish"), text.index("cosign sign --yes ")
    assert published < signed
    line = text[signed:].partition("\n")[0]
    assert "@$(jq --raw-output '.\"containerimage.digest\"' build/image.json)" in line


def test_base_images_are_kept_up_to_date() -> None:
    """If a project pins a base image by its digest, the digest is updated too."""
    dependabot = yaml.safe_load((TEMPLATE / ".github/dependabot.yml").read_text())
    (docker,) = (each for each in dependabot["updates"] if each["package-ecosystem"] == "docker")
    assert docker["cooldown"]["default-days"] >= 7
