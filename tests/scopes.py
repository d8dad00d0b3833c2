"""Machine classes of real clouds, and where these contain their cluster and role."""

from typing import Annotated

from pydantic import AfterValidator

from cmi import ClusterScope, ScopeTags, SpecModel, TaggedScope

DOTTED = ScopeTags(cluster_prefix="kubernetes.io-cluster-", role_prefix="kubernetes.io-role-")
DASHED = ScopeTags(cluster_prefix="kubernetes-io-cluster-", role_prefix="kubernetes-io-role-")


class Dotted(TaggedScope, extra="ignore"):
    scope_tags = DOTTED


class Dashed(ClusterScope, extra="ignore"):
    tags: Annotated[tuple[str, ...], AfterValidator(DASHED.check)]

    @property
    def cluster(self) -> str:
        return DASHED.cluster(self.tags)

    @property
    def role(self) -> str:
        return DASHED.role(self.tags)


class Named(Dashed, extra="ignore"):
    tags: Annotated[tuple[str, ...], AfterValidator(ScopeTags().check)]

    @property
    def cluster(self) -> str:
        return ScopeTags().cluster(self.tags)

    @property
    def role(self) -> str:
        return ScopeTags().role(self.tags)


class Inner(SpecModel, extra="ignore"):
    tags: Annotated[dict[str, str], AfterValidator(DOTTED.check)]


class Nested(ClusterScope, extra="ignore"):
    spec: Inner

    @property
    def cluster(self) -> str:
        return DOTTED.cluster(self.spec.tags)

    @property
    def role(self) -> str:
        return DOTTED.role(self.spec.tags)


class Plain(ClusterScope, extra="ignore"):
    cluster_id: str

    @property
    def cluster(self) -> str:
        return self.cluster_id

    @property
    def role(self) -> str:
        return "node"
