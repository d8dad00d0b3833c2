"""The author's API: all that a provider's package needs to write a driver.

A provider imports from here, from `cmi.testing` and from `cmi.conformance`, and from nowhere
else in `cmi`. What is listed in these three keeps its meaning from version to version.
"""

from cmi import rules
from cmi.app import driver_app
from cmi.driver import Driver
from cmi.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    DriverError,
    ErrorTable,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    StartupError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from cmi.messages import (
    CreateMachineRequest,
    CreateMachineResponse,
    DeleteMachineRequest,
    DeleteMachineResponse,
    GetMachineStatusRequest,
    GetMachineStatusResponse,
    GetVolumeIDsRequest,
    GetVolumeIDsResponse,
    ListMachinesRequest,
    ListMachinesResponse,
    PersistentVolumeSpec,
    ShutDownMachineRequest,
    ShutDownMachineResponse,
)
from cmi.provider_id import ProviderIdFormat
from cmi.seam import VM, Leftover, Session, VMState
from cmi.spec import (
    ClusterScope,
    Credential,
    ScopeTags,
    SecretsModel,
    SpecModel,
    TaggedScope,
    spec_differences,
    spec_fingerprint,
)
from cmi.waiting import run_async, wait_for

__all__ = [
    "VM",
    "Aborted",
    "AlreadyExists",
    "ClusterScope",
    "CreateMachineRequest",
    "CreateMachineResponse",
    "Credential",
    "DeadlineExceeded",
    "DeleteMachineRequest",
    "DeleteMachineResponse",
    "Driver",
    "DriverError",
    "ErrorTable",
    "FailedPrecondition",
    "GetMachineStatusRequest",
    "GetMachineStatusResponse",
    "GetVolumeIDsRequest",
    "GetVolumeIDsResponse",
    "Internal",
    "InvalidArgument",
    "Leftover",
    "ListMachinesRequest",
    "ListMachinesResponse",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "PersistentVolumeSpec",
    "ProviderIdFormat",
    "ResourceExhausted",
    "ScopeTags",
    "SecretsModel",
    "Session",
    "ShutDownMachineRequest",
    "ShutDownMachineResponse",
    "SpecModel",
    "StartupError",
    "TaggedScope",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "VMState",
    "driver_app",
    "rules",
    "run_async",
    "spec_differences",
    "spec_fingerprint",
    "wait_for",
]
