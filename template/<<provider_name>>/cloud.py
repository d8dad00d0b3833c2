"""The seam to the cloud. Replace what is in here by calls to your SDK.

`machineserver.py` uses `Cloud`, `Session`, `VM`, `ERRORS` and `volume_id`, and nothing else.
Until you replace them they are an embedded cloud: a small but honest one in a single SQLite
file. It survives kill -9, two processes may share it, and its calls are as uneven as those
of a real API: a VM is made in steps, lists come in pages, and anything can fail in between.
"""

import hashlib
import json
import os
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from pydantic import SecretStr

from cmi import (
    ErrorTable,
    InvalidArgument,
    OutOfRange,
    PermissionDenied,
    PersistentVolumeSpec,
    ResourceExhausted,
    StartupError,
    Unauthenticated,
    Unavailable,
)

from .apis.provider_spec import Credentials, MachineScope, ProviderSpec

REGIONS: Final = ("north-1", "south-1")
IMAGES: Final = ("linux-6.12", "linux-6.18")
MACHINE_TYPES: Final = ("standard-2", "standard-4", "standard-8")
MAX_DISK_GIB: Final = 4096
PAGE_SIZE: Final = 50

CSI_DRIVER: Final = "csi.embedded.cloud"
FLEX_VOLUME_DRIVER: Final = "embedded.cloud/disk"


class VMState(StrEnum):
    """The state of a VM."""

    CREATING = "creating"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class VM:
    """A virtual machine as the cloud reports it.

    Attributes:
        id: The cloud's own ID, unique in its region.
        name: The machine's name.
        region: Where it runs.
        state: Its state; `CREATING` until every part of it is there.
        shape: What it was made from: the provider spec without its tags, as JSON.
    """

    id: str
    name: str
    region: str
    state: VMState
    shape: Mapping[str, Any]

    @property
    def node_name(self) -> str:
        """The name that the VM registers under as a node."""
        return self.name

    def differences(self, spec: ProviderSpec) -> list[str]:
        """Return the fields in which the VM is not as `spec` wants it (C11)."""
        wanted = _shape(spec)
        return [key for key in wanted if wanted[key] != self.shape.get(key)]


class CloudError(Exception):
    """The embedded cloud refused a call."""


class UnknownTokenError(CloudError):
    """The API token is wrong or was revoked."""


class ReadOnlyTokenError(CloudError):
    """The API token may only read."""


class NoSuchValueError(CloudError):
    """A region, image or machine type that the cloud does not have."""


class SizeError(CloudError):
    """A size that the cloud does not offer."""


class QuotaError(CloudError):
    """The account has as many VMs as it may have."""


class ThrottledError(CloudError):
    """Too many calls; try again."""


ERRORS: Final[ErrorTable] = {
    UnknownTokenError: Unauthenticated,
    ReadOnlyTokenError: PermissionDenied,
    NoSuchValueError: InvalidArgument,
    SizeError: OutOfRange,
    QuotaError: ResourceExhausted,
    ThrottledError: Unavailable,
    sqlite3.Error: Unavailable,
}
"""What the cloud's errors mean to the caller (C13, C44)."""


def volume_id(volume: PersistentVolumeSpec) -> str | None:
    """Return the cloud's ID of a volume, or None if it is not a volume of this cloud (C38)."""
    if handle := volume.csi_handle(CSI_DRIVER):
        return handle
    in_tree = volume.source("flexVolume")
    if in_tree and in_tree.get("driver") == FLEX_VOLUME_DRIVER:
        options = in_tree.get("options")
        found = options.get("volumeID") if isinstance(options, dict) else None
        return found if isinstance(found, str) else None
    return None


class Cloud:
    """The account at the embedded cloud.

    Args:
        file: The SQLite file; made if it is not there, with the tokens `demo-token` and
            `demo-reader`, which may only read.
        quota: The most VMs of the account.
        latency: What every API call takes, in seconds.
        faults: API call (`create_vm`, `create_disk`, …) to what goes wrong with it:
            `throttled`, `crash` (as by kill -9) or `hang`; `throttled*2` for twice only.

    Raises:
        StartupError: The file can't be used, or a fault is not one of those.
    """

    def __init__(
        self,
        file: str = "embedded-cloud.sqlite",
        *,
        quota: int = 1000,
        latency: float = 0.0,
        faults: Mapping[str, str] | None = None,
    ) -> None:
        self._file = file
        self.quota = quota
        self.latency = latency
        self._faults = _Faults(faults or {})
        self._one_at_a_time = threading.Lock()
        try:
            with self.transaction() as db:
                _set_up(db)
        except sqlite3.Error as error:
            raise StartupError(
                f"can't use {file} as the embedded cloud's file: {error}; "
                "set EMBEDDED_CLOUD_FILE to a file that can be written"
            ) from None

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud that EMBEDDED_CLOUD_FILE, _QUOTA, _LATENCY and _FAULTS describe.

        Raises:
            StartupError: One of them is malformed.
        """
        read = os.environ.get
        try:
            quota = int(read("EMBEDDED_CLOUD_QUOTA", "1000"))
            latency = float(read("EMBEDDED_CLOUD_LATENCY", "0"))
            pairs = [pair for pair in read("EMBEDDED_CLOUD_FAULTS", "").split(",") if pair]
            faults = {call: fault for call, _, fault in (pair.partition("=") for pair in pairs)}
        except ValueError as error:
            raise StartupError(
                f"a variable of the embedded cloud is malformed ({error}); good are for example "
                "EMBEDDED_CLOUD_QUOTA=10 EMBEDDED_CLOUD_LATENCY=0.5 "
                "EMBEDDED_CLOUD_FAULTS=create_vm=throttled*2,delete_vm=crash"
            ) from None
        file = read("EMBEDDED_CLOUD_FILE", "embedded-cloud.sqlite")
        return cls(file, quota=quota, latency=latency, faults=faults)

    def is_ready(self) -> bool:
        """Tell whether the cloud can be used."""
        self.api_call("ping")
        with self.transaction() as db:
            return db.execute("SELECT count(*) FROM tokens").fetchone() is not None

    def login(self, credentials: Credentials) -> "Session":
        """Return a session with the API token of the Secret; it is checked at each call."""
        return Session(self, credentials.api_token.get_secret_value())

    def set_token(self, token: str, access: str | None) -> None:
        """Let a token `write` or `read`, or revoke it with None. For tests and demos."""
        with self.transaction() as db:
            db.execute("DELETE FROM tokens WHERE digest = ?", [_digest(token)])
            if access is not None:
                db.execute("INSERT INTO tokens VALUES (?, ?)", [_digest(token), access])

    def api_call(self, name: str) -> None:
        """Take the time of an API call, and let it fail if it is to."""
        time.sleep(self.latency)
        self._faults.strike(name)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open the file and run one transaction; it takes effect whole or not at all."""
        with self._one_at_a_time, closing(sqlite3.connect(self._file, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA busy_timeout = 30000")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


class Session:
    """The calls that a token may make. Every method is one or more API calls."""

    def __init__(self, cloud: Cloud, token: str) -> None:
        self._cloud = cloud
        self._digest = _digest(token)

    def find_vms(self, scope: MachineScope, name: str | None = None) -> list[VM]:
        """Return the VMs of the cluster and role, or those of one machine; all pages (C31)."""
        vms: list[VM] = []
        while True:
            with self._api_call("list_vms", "read") as db:
                page = db.execute(
                    "SELECT * FROM vms WHERE region = ? AND cluster = ? AND role = ?"
                    " AND id > ? AND name = coalesce(?, name) ORDER BY id LIMIT ?",
                    [*_scope(scope), vms[-1].id if vms else "", name, PAGE_SIZE],
                ).fetchall()
            vms += map(_vm, page)
            if len(page) < PAGE_SIZE:
                return vms

    def create_vm(self, name: str, spec: ProviderSpec, user_data: SecretStr) -> VM:
        """Make a VM with its disks and start it, or go on where an earlier call ended."""
        _check(spec)
        vm = self._insert_vm(name, spec, user_data)
        for disk in spec.disks:
            with self._api_call("create_disk", "write") as db:
                db.execute(
                    "INSERT OR IGNORE INTO disks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [_new_id("disk"), vm.id, name, *_scope(spec), disk.name, disk.size_gib],
                )
        with self._api_call("start_vm", "write") as db:
            db.execute("UPDATE vms SET state = ? WHERE id = ?", [VMState.RUNNING, vm.id])
        return replace(vm, state=VMState.RUNNING)

    def stop_vm(self, vm: VM) -> None:
        """Stop a VM; nothing happens to one that is stopped."""
        with self._api_call("stop_vm", "write") as db:
            db.execute("UPDATE vms SET state = ? WHERE id = ?", [VMState.STOPPED, vm.id])

    def delete_vm(self, vm: VM) -> None:
        """Delete a VM. Its disks stay."""
        with self._api_call("delete_vm", "write") as db:
            db.execute("DELETE FROM vms WHERE id = ?", [vm.id])

    def delete_leftovers(self, scope: MachineScope, name: str) -> None:
        """Delete the disks that a machine's deleted VMs have left behind."""
        with self._api_call("list_disks", "read") as db:
            disks = db.execute(
                "SELECT id FROM disks WHERE region = ? AND cluster = ? AND role = ?"
                " AND machine = ? AND vm_id NOT IN (SELECT id FROM vms)",
                [*_scope(scope), name],
            ).fetchall()
        for row in disks:
            with self._api_call("delete_disk", "write") as db:
                db.execute("DELETE FROM disks WHERE id = ?", [row["id"]])

    def _insert_vm(self, name: str, spec: ProviderSpec, user_data: SecretStr) -> VM:
        """Insert a VM, or return the one that an earlier call with this client token made."""
        region, cluster, role = _scope(spec)
        client_token = f"{region}/{cluster}/{role}/{name}"
        same_try = "SELECT * FROM vms WHERE client_token = ?"
        with self._api_call("create_vm", "write") as db:
            if row := db.execute(same_try, [client_token]).fetchone():
                return _vm(row)
            (count,) = db.execute("SELECT count(*) FROM vms").fetchone()
            if count >= self._cloud.quota:
                raise QuotaError(f"the account's quota of {self._cloud.quota} VMs is used up")
            values = [_new_id("vm"), name, region, VMState.CREATING, json.dumps(_shape(spec))]
            values += [cluster, role, json.dumps(spec.tags)]
            values += [_digest(user_data.get_secret_value()), client_token]
            db.execute("INSERT INTO vms VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            return _vm(db.execute(same_try, [client_token]).fetchone())

    @contextmanager
    def _api_call(self, name: str, access: str) -> Iterator[sqlite3.Connection]:
        """One authenticated call, and one transaction."""
        self._cloud.api_call(name)
        with self._cloud.transaction() as db:
            row = db.execute(
                "SELECT access FROM tokens WHERE digest = ?", [self._digest]
            ).fetchone()
            if row is None:
                raise UnknownTokenError("the API token is not valid; check the Secret's apiToken")
            if access == "write" and row["access"] != "write":
                raise ReadOnlyTokenError(f"the API token may only read, and {name} writes")
            yield db


class _Faults:
    """Faults to inject, each as often as it says."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, tuple[str, float]] = {}
        for call, fault in faults.items():
            kind, _, times = fault.partition("*")
            if kind not in ("throttled", "crash", "hang") or not (times or "1").isdigit():
                raise StartupError(f"fault {fault!r} is none; use throttled, crash, hang or hang*2")
            self._left[call] = (kind, int(times) if times else float("inf"))

    def strike(self, call: str) -> None:
        """Let the call go wrong if it is to."""
        with self._lock:
            kind, left = self._left.get(call, ("", 0))
            if left <= 0:
                return
            self._left[call] = (kind, left - 1)
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            threading.Event().wait()
        raise ThrottledError(f"too many calls of {call}; try again")


_SCHEMA: Final = """
CREATE TABLE vms (id PRIMARY KEY, name, region, state, shape, cluster, role, tags,
    user_data_digest, client_token UNIQUE);
CREATE INDEX vms_by_scope ON vms (region, cluster, role, name, id);
CREATE TABLE disks (id PRIMARY KEY, vm_id, machine, region, cluster, role, name, size_gib,
    UNIQUE (vm_id, name));
CREATE TABLE tokens (digest PRIMARY KEY, access);
PRAGMA user_version = 1
"""


def _set_up(db: sqlite3.Connection) -> None:
    """Make the tables and the first tokens in a new file."""
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        tokens = [(_digest("demo-token"), "write"), (_digest("demo-reader"), "read")]
        db.executemany("INSERT INTO tokens VALUES (?, ?)", tokens)


def _vm(row: sqlite3.Row) -> VM:
    state = VMState(row["state"])
    return VM(row["id"], row["name"], row["region"], state, json.loads(row["shape"]))


def _check(spec: ProviderSpec) -> None:
    """Refuse what the cloud does not offer (C13)."""
    for field, value, offered in (
        ("region", spec.region, REGIONS),
        ("image", spec.image, IMAGES),
        ("machineType", spec.machine_type, MACHINE_TYPES),
    ):
        if value not in offered:
            raise NoSuchValueError(f"providerSpec.{field}: {value} is none of {', '.join(offered)}")
    for index, disk in enumerate(spec.disks):
        if disk.size_gib > MAX_DISK_GIB:
            raise SizeError(
                f"providerSpec.disks[{index}].sizeGiB: {disk.size_gib} is above {MAX_DISK_GIB}"
            )


def _shape(spec: ProviderSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude={"tags"})


def _scope(scope: MachineScope) -> tuple[str, str, str]:
    return scope.region, scope.cluster, scope.role


def _new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
