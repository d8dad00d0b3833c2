"""The facts of the contract, CMI v1: its RPCs, capabilities, limits and default tags.

The client, the conformance kit and the server all read them here. Most facts are derived from the
generated code, so that they can't differ from `cmi.proto`.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cmi.v1 import cmi_pb2

Capability = cmi_pb2.PluginCapability.RPC

CLUSTER_TAG: Final = "kubernetes.io/cluster/"
"""The tag `kubernetes.io/cluster/<id>` names the cluster that a VM belongs to."""

ROLE_TAG: Final = "kubernetes.io/role/"
"""The tag `kubernetes.io/role/<role>` names the VM's role in its cluster, such as `node`."""

MAX_NAME_BYTES: Final = 128
"""The longest machine name, provider ID and node name, in bytes of UTF-8 (C9, C47)."""

USER_DATA_KEY: Final = "userData"
"""The key of the Secret that MCM requires. MCM inserts a machine's token into its value."""

IDENTITY: Final = cmi_pb2.DESCRIPTOR.services_by_name["Identity"]
MACHINE: Final = cmi_pb2.DESCRIPTOR.services_by_name["Machine"]
SERVICES: Final = (IDENTITY.full_name, MACHINE.full_name)
"""The full names of the two services, as in `/cmi.v1.Machine/CreateMachine` (C1)."""

_MANDATORY: Final = frozenset({"CreateMachine", "DeleteMachine"})
_WORD: Final = re.compile(r"[A-Z]+s?(?=[A-Z][a-z]|$)|[A-Z][a-z]+")


@dataclass(frozen=True)
class Rpc:
    """One RPC of `cmi.v1.Machine`.

    Attributes:
        descriptor: Its description in the generated code.
    """

    descriptor: MethodDescriptor

    @property
    def name(self) -> str:
        """Its name on the wire, such as `GetVolumeIDs`."""
        name: str = self.descriptor.name
        return name

    @cached_property
    def method(self) -> str:
        """The name of the driver's method, such as `get_volume_ids`."""
        return "_".join(_WORD.findall(self.name)).lower()

    @cached_property
    def capability(self) -> Capability.Type.ValueType:
        """The capability that a driver announces if it has this RPC (C4, C5)."""
        by_name = {name.replace("_", ""): number for name, number in Capability.Type.items()}
        return by_name[self.name.upper()]

    @property
    def capability_name(self) -> str:
        """The name of the capability, such as `GET_VOLUME_IDS`."""
        return Capability.Type.Name(self.capability)

    @property
    def is_mandatory(self) -> bool:
        """Whether every driver must implement it (C4)."""
        return self.name in _MANDATORY

    @cached_property
    def request_type(self) -> type[Message]:
        """The generated class of its request."""
        return GetMessageClass(self.descriptor.input_type)

    @cached_property
    def request_fields(self) -> frozenset[str]:
        """The names of its request's fields on the wire."""
        return frozenset(self.descriptor.input_type.fields_by_name)


RPCS: Final = tuple(map(Rpc, MACHINE.methods))
"""The RPCs of `cmi.v1.Machine`, in the order of the contract."""

RPC_BY_NAME: Final = {rpc.name: rpc for rpc in RPCS}
