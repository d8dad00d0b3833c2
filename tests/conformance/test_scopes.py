"""Specs of any form: the kit finds the fields for cluster and role by trying changes."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmi import ClusterScope, TaggedScope
from cmi.client import MachineClass
from cmi.conformance import specs
from cmi.conformance.scopes import Scopes
from tests.scopes import Dashed, Dotted, Named, Nested, Plain

CLUSTER = "shoot--dev--demo"


class Numbered(ClusterScope, extra="ignore"):
    cluster_number: int
    pool: str = "node"

    @property
    def cluster(self) -> str:
        return str(self.cluster_number)

    @property
    def role(self) -> str:
        return self.pool


class Twice(ClusterScope, extra="ignore"):
    """A scope with the cluster's ID in two fields, which must agree."""

    cluster_id: str
    network: str

    @property
    def cluster(self) -> str:
        if self.network != f"net-{self.cluster_id}":
            raise ValueError("the network is another cluster's")
        return self.cluster_id

    @property
    def role(self) -> str:
        return "node"


def tags(prefix: str, role_prefix: str) -> dict[str, str]:
    return {f"{prefix}{CLUSTER}": "1", f"{role_prefix}node": "1", "team": "node"}


@dataclass(frozen=True)
class Form:
    """A form of provider specs.

    Attributes:
        model: The model that reads this form.
        fields: A spec in which the ID and the role also occur with other meanings.
        other: The same spec for another cluster.
        other_role: The same spec for another role; None if the form has no role.
        without: The names of the variants of the spec in which the scope is incomplete.
    """

    model: type[ClusterScope] | None
    fields: Mapping[str, Any]
    other: Mapping[str, Any]
    other_role: Mapping[str, Any] | None
    without: tuple[str, ...] = ("no cluster", "no role", "empty tags", "no tags")


def form(
    model: type[ClusterScope] | None, text: str, *without: str, one: str = "", has_role: bool = True
) -> Form:
    """Return the form of a spec in YAML, which contains {cluster} and {role} in their places."""

    def fields(cluster: str, role: str) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load(
            text.replace("{cluster}", cluster).replace("{role}", role)
        )
        return {"region": "node", "image": one} | values

    one = one or CLUSTER
    other = str(int(one) + 1) if one.isdigit() else f"{one}-conformance-1"
    return Form(
        model,
        fields(one, "node"),
        fields(other, "node"),
        fields(one, "node-conformance-1") if has_role else None,
        without or Form.without,
    )


FORMS = {
    "the default, from outside": form(
        None, "tags: {kubernetes.io/cluster/{cluster}: '1', kubernetes.io/role/{role}: '1'}"
    ),
    "AWS": form(
        TaggedScope, "tags: {kubernetes.io/cluster/{cluster}: '1', kubernetes.io/role/{role}: '1'}"
    ),
    "GCP": form(Dashed, "tags: [kubernetes-io-cluster-{cluster}, kubernetes-io-role-{role}]"),
    "Azure": form(
        Dotted, "tags: {kubernetes.io-cluster-{cluster}: '1', kubernetes.io-role-{role}: '1'}"
    ),
    "OpenStack": form(
        Nested,
        "{kind: Spec, spec: {tags: {kubernetes.io-cluster-{cluster}: '1', "
        "kubernetes.io-role-{role}: '1'}}}",
    ),
    "Equinix Metal": form(
        Named, "tags: ['kubernetes.io/cluster/{cluster}: 1', 'kubernetes.io/role/{role}: 1']"
    ),
    "Hetzner": form(Plain, "clusterId: {cluster}", "no cluster", has_role=False),
    "numbers": form(Numbered, "{clusterNumber: {cluster}, pool: {role}}", "no cluster", one="4711"),
    "a short ID": form(
        Dotted,
        "tags: {kubernetes.io-cluster-{cluster}: '1', kubernetes.io-role-{role}: '1'}",
        one="o",
    ),
    "in two places": form(
        Twice,
        "{clusterId: {cluster}, network: net-{cluster}, image: linux}",
        "no cluster",
        has_role=False,
    ),
}


@pytest.mark.parametrize("form", list(FORMS.values()), ids=list(FORMS))
def test_classes_follow_from_a_spec_of_any_form(form: Form) -> None:
    scopes = Scopes(MachineClass(provider_spec=json.dumps(form.fields).encode()), form.model)
    other, empty, other_role = scopes.of_cluster(1), scopes.of_cluster(2), scopes.of_role(1)
    assert other is not None
    assert specs.fields_of(other) == form.other
    assert empty is not None
    assert specs.fields_of(empty) not in (form.other, form.fields)
    assert (other_role and specs.fields_of(other_role)) == form.other_role
    assert tuple(what for what, _ in scopes.without()) == form.without
    for _, machine_class in scopes.without():
        assert specs.fields_of(machine_class) != form.fields


def test_a_model_that_does_not_fit_is_a_mistake() -> None:
    fields = FORMS["GCP"].fields
    with pytest.raises(ValueError, match="Nested finds no cluster and role"):
        Scopes(MachineClass(provider_spec=json.dumps(fields).encode()), Nested)


def test_nothing_is_guessed_from_outside() -> None:
    """Without the author's model, the kit knows nothing about a form that is not the default."""
    fields = FORMS["GCP"].fields
    scopes = Scopes(MachineClass(provider_spec=json.dumps(fields).encode()), None)
    assert scopes.of_cluster(1) is None
    assert scopes.of_role(1) is None
    assert scopes.tags is None
    assert list(scopes.without()) == []


IMPORTS = "from pydantic import AfterValidator\nfrom cmi import ClusterScope, ScopeTags, Credential"

# Rendered projects whose authors have declared another form: the changes to
# `apis/provider_spec.py` and `cloud.py`, and the fields of the sample.
DECLARED: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "Azure": (
        {
            'class MachineScope(TaggedScope, extra="ignore"):\n': (
                'class MachineScope(TaggedScope, extra="ignore"):\n'
                "    scope_tags = ScopeTags(\n"
                '        cluster_prefix="kubernetes.io-cluster-",\n'
                '        role_prefix="kubernetes.io-role-",\n'
                "    )\n"
            ),
            "from cmi import Credential": "from cmi import ScopeTags, Credential",
        },
        {"tags": {"kubernetes.io-cluster-demo": "1", "kubernetes.io-role-node": "1"}},
    ),
    "GCP": (
        {
            'class MachineScope(TaggedScope, extra="ignore"):\n': (
                "SCOPE_TAGS = ScopeTags(\n"
                '    cluster_prefix="kubernetes-io-cluster-", role_prefix="kubernetes-io-role-"\n'
                ")\n\n\n"
                'class MachineScope(ClusterScope, extra="ignore"):\n'
                "    tags: Annotated[tuple[str, ...], AfterValidator(SCOPE_TAGS.check)]\n"
                "    cluster = property(lambda self: SCOPE_TAGS.cluster(self.tags))\n"
                "    role = property(lambda self: SCOPE_TAGS.role(self.tags))\n"
            ),
            "from cmi import Credential": IMPORTS,
            "{**spec.tags,": '{**dict.fromkeys(spec.tags, ""),',
        },
        {"tags": ["kubernetes-io-cluster-demo", "kubernetes-io-role-node"]},
    ),
    "Equinix Metal": (
        {
            'class MachineScope(TaggedScope, extra="ignore"):\n': (
                'class MachineScope(ClusterScope, extra="ignore"):\n'
                "    tags: Annotated[tuple[str, ...], AfterValidator(ScopeTags().check)]\n"
                "    cluster = property(lambda self: ScopeTags().cluster(self.tags))\n"
                "    role = property(lambda self: ScopeTags().role(self.tags))\n"
            ),
            "from cmi import Credential": IMPORTS,
            "{**spec.tags,": '{**dict.fromkeys(spec.tags, ""),',
        },
        {"tags": ["kubernetes.io/cluster/demo: 1", "kubernetes.io/role/node: 1"]},
    ),
    "OpenStack": (
        {
            'class MachineScope(TaggedScope, extra="ignore"):\n': (
                "SCOPE_TAGS = ScopeTags(\n"
                '    cluster_prefix="kubernetes.io-cluster-", role_prefix="kubernetes.io-role-"\n'
                ")\n\n\n"
                'class Tagged(SpecModel, extra="ignore"):\n'
                "    tags: Annotated[dict[str, str], AfterValidator(SCOPE_TAGS.check)]\n\n\n"
                'class MachineScope(ClusterScope, extra="ignore"):\n'
                "    spec: Tagged\n"
                "    cluster = property(lambda self: SCOPE_TAGS.cluster(self.spec.tags))\n"
                "    role = property(lambda self: SCOPE_TAGS.role(self.spec.tags))\n"
            ),
            "from cmi import Credential": IMPORTS,
            "{**spec.tags,": "{**spec.spec.tags,",
            'leave_out={"tags", "region"}': 'leave_out={"spec", "region"}',
        },
        {
            "spec": {"tags": {"kubernetes.io-cluster-demo": "1", "kubernetes.io-role-node": "1"}},
        },
    ),
    "Hetzner": (
        {
            'class MachineScope(TaggedScope, extra="ignore"):\n': (
                'class MachineScope(ClusterScope, extra="ignore"):\n'
                '    cluster_name: str = Field(alias="cluster", min_length=1)\n'
                "    cluster = property(lambda self: self.cluster_name)\n"
                '    role = property(lambda self: "node")\n'
            ),
            "from cmi import Credential": "from cmi import ClusterScope, Credential",
            "{**spec.tags,": "{",
            'leave_out={"tags", "region"}': 'leave_out={"cluster_name", "region"}',
        },
        {"cluster": "demo"},
    ),
}
SKIPPED = {
    "Hetzner": {"C29_no_machines_of_other_roles", "C58_tags"},
}
"""Tests of the kit that do not apply to a form."""


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(DECLARED))
def test_a_project_with_another_form_passes(installed: Path, tmp_path: Path, name: str) -> None:
    changes, fields = DECLARED[name]
    project = tmp_path / "project"
    shutil.copytree(installed, project, ignore=shutil.ignore_patterns(".venv", "build", ".git"))
    for old, new in changes.items():
        files = [project / "acme/apis/provider_spec.py", project / "acme/cloud.py"]
        (file,) = [each for each in files if old in each.read_text()]
        file.write_text(file.read_text().replace(old, new, 1))
    sample = project / "kubernetes/machine-class.yaml"
    machine_class = yaml.safe_load(sample.read_text())
    del machine_class["providerSpec"]["tags"]
    machine_class["providerSpec"] |= fields
    sample.write_text(yaml.safe_dump(machine_class))
    ended = subprocess.run(
        [
            *(installed / ".venv/bin/python", "-m", "pytest", "-q", "-rs"),
            *("acme/tests/test_conformance.py", "-k", "not C52"),
        ],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    report = ended.stdout
    assert "0 FAILED" in report
    assert report.count("skipped: ") == len(SKIPPED.get(name, set())), report
