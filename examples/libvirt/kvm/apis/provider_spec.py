"""The provider spec and the secrets: which VMs to make on a host that runs libvirt.

Fields are snake_case here and camelCase in YAML. Before any call reaches libvirt, invalid input is
refused with INVALID_ARGUMENT and the path of every offending field (C8).
"""

from typing import Annotated, Final, Literal

from pydantic import Field, SecretBytes, field_validator, model_validator

from cmi import Credential, SecretsModel, SpecModel, TaggedScope

SEED: Final = "seed"
"""The disk with the user data; no other disk may have its name."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""1 to 63 letters, digits, '.', '_' and '-', as names in libvirt usually are."""


class MachineScope(TaggedScope, extra="ignore"):
    """The fields needed to find a machine's domain: the host and the cluster's tags.

    Status, delete, shut-down and list validate only these.
    """

    host: Name = Field(description="A name in the operator's list of hosts, LIBVIRT_HOSTS")


class Disk(SpecModel):
    """A volume that is made and deleted with the VM."""

    name: Name
    size_gib: int = Field(alias="sizeGiB", ge=1, le=65536, description="Size in GiB")


class Network(SpecModel):
    """A network interface, on one of libvirt's networks or on a bridge of the host."""

    network: Name | None = None
    bridge: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,15}$")] | None = None
    model: Literal["virtio", "e1000e"] = "virtio"

    @model_validator(mode="after")
    def _is_one(self) -> "Network":
        if (self.network is None) == (self.bridge is None):
            raise ValueError("needs exactly one of network and bridge")
        return self


class ProviderSpec(MachineScope, extra="forbid"):
    """Everything that CreateMachine needs to know about a VM."""

    pool: Name = Field(description="Storage pool for the disks; one that is a folder of the host")
    image: Name = Field(description="Volume in the pool that the first disk starts from")
    disks: tuple[Disk, ...] = Field(
        min_length=1, max_length=20, description="The VM boots from the first one"
    )
    vcpus: int = Field(ge=1, le=1024)
    memory_mib: int = Field(alias="memoryMiB", ge=64, description="Memory in MiB")
    networks: tuple[Network, ...] = Field(min_length=1)
    hypervisor: Literal["kvm", "qemu", "test"] = Field(
        default="kvm", description="qemu is slow, and needs no KVM; test is libvirt's own"
    )
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    machine_type: Name = Field(default="q35", description="QEMU's machine, such as q35")
    cpu_mode: Literal["host-passthrough", "host-model", "maximum"] = "host-passthrough"
    firmware: Literal["bios", "efi"] = "bios"
    autostart: bool = Field(default=True, description="Start the VM when its host starts")

    @field_validator("disks")
    @classmethod
    def _names_differ(cls, disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
        names = {disk.name for disk in disks} | {SEED}
        if len(names) <= len(disks):
            raise ValueError(f"two disks have the same name, or one is called {SEED}")
        return disks


class Credentials(SecretsModel):
    """The keys of the Secret that every call needs, if the host asks for them (C49).

    libvirt calls this SASL. A host that is reached through a Unix socket, SSH or TLS with client
    certificates asks for none: the operator gives the driver the keys for these.
    """

    username: Credential | None = None
    password: Credential | None = None

    @model_validator(mode="after")
    def _are_both(self) -> "Credentials":
        if (self.username is None) != (self.password is None):
            missing = "username" if self.username is None else "password"
            raise ValueError(f"{missing} is missing; username and password need each other")
        return self


class Secrets(Credentials):
    """The keys of the Secret that CreateMachine needs (C49).

    Only a host knows whether it asks for credentials. So one without any is not refused here, and
    neither is one without user data: the host comes first, or an empty Secret would be an invalid
    argument where it is a missing login (C44). `create_vm` refuses it.
    """

    user_data: SecretBytes = Field(
        default=SecretBytes(b""), description="What cloud-init runs in the VM; mandatory"
    )
