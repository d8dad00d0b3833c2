"""An embedded cloud, in place of your cloud's SDK. Delete this file once you call your own SDK.

It is shaped like an SDK: a `Client` with a token makes API calls, receives objects, pages and
exceptions, and starts actions that end some time later. It is as difficult as real clouds: a
server is created in steps, anything can fail in between, and quotas and throttling refuse calls.

All state is in one SQLite file, which survives kill -9 and can be shared by several processes.
`EmbeddedCloud` is the cloud itself: what it offers, which faults to inject, and what tests may
see and do without a token.
"""

import hashlib
import json
import os
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

REGIONS: Final = ("north-1", "south-1")
IMAGES: Final = ("linux-6.12", "linux-6.18")
MACHINE_TYPES: Final = ("standard-2", "standard-4", "standard-8")
MAX_DISK_GIB: Final = 4096
PAGE_SIZE: Final = 50
API_CALLS: Final = (
    "get_account",
    "list_servers",
    "get_server",
    "create_server",
    "attach_network",
    "create_disk",
    "start_server",
    "allow_forwarding",
    "stop_server",
    "delete_server",
    "list_disks",
    "delete_disk",
)
"""The API calls, by the names that select them for faults."""

Status = Literal["creating", "created", "running", "stopped", "deleting"]
T = TypeVar("T")


class ApiError(Exception):
    """The cloud refused a call. `request_id` is the cloud's ID of the call, for its support."""

    request_id = ""


class UnknownTokenError(ApiError):
    """The token is unknown or was revoked."""


class ReadOnlyTokenError(ApiError):
    """The token may only read."""


class NotFoundError(ApiError):
    """There is no such server or disk."""


class NoSuchValueError(ApiError):
    """The cloud does not have this region, image or machine type. `field` says which it is."""

    def __init__(self, field: str, value: str, offered: Sequence[str]) -> None:
        super().__init__(f"{value} is none of {', '.join(offered)}")
        self.field = field


class NotRunningError(ApiError):
    """The call needs a server that runs."""


class SizeError(ApiError):
    """The cloud does not offer disks of this size."""


class QuotaError(ApiError):
    """The account's quota of servers is used up."""


class CapacityError(ApiError):
    """The region has no capacity for a server at the moment."""


class ThrottledError(ApiError):
    """There were too many calls; try again."""


class CloudDownError(ApiError):
    """The cloud's own file can't be used."""


@dataclass(frozen=True, slots=True)
class Action:
    """A command that the cloud has accepted, and carries out later.

    Attributes:
        command: `create`, `attach_network`, `start`, `stop` or `delete`.
        status: Its progress.
        error: The reason if it failed; empty otherwise.
    """

    command: str
    status: Literal["running", "succeeded", "failed"]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """A virtual machine, as the API reports it.

    Attributes:
        id: Unique in its region.
        region: Its region.
        name: The display name. Anyone can change it, and two servers may have the same name.
        labels: Labels that the account stored with it.
        status: `created` means that it has never been started.
        image: The image that it boots from.
        machine_type: Its size.
        subnet: The network that it is attached to; empty if there is none yet.
        address: Its IP address in the network; empty if there is none yet.
        security_groups: The security groups of its network interface.
        forwards: Whether the network lets it send packets from other addresses, such as those of
            Pods.
        action: The latest action on it.
    """

    id: str
    region: str
    name: str
    labels: Mapping[str, str]
    status: Status
    image: str
    machine_type: str
    subnet: str
    address: str
    security_groups: tuple[str, ...]
    forwards: bool
    action: Action


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk. It stays when its server is deleted.

    Attributes:
        id: Unique in its region.
        server_id: The server that it was created for.
        name: Unique among the disks of a server.
        size_gib: Its size in GiB.
        type: `ssd` or `hdd`.
        labels: Labels that the account stored with it.
    """

    id: str
    region: str
    server_id: str
    name: str
    size_gib: int
    type: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: The objects on this page, up to the cloud's page size.
        next: The value of `after` for the next call; None if this is the last page.
    """

    items: list[T]
    next: str | None


class EmbeddedCloud:
    """The cloud itself, for the driver's start and for tests.

    Args:
        file: The SQLite file. If it does not exist, it is created with the tokens `demo-token`
            and `demo-reader`, which may only read.
        quota: The maximum number of servers in the account.
        latency: The duration of every API call, in seconds.
        action_time: The duration of every action, in seconds.
        page_size: The maximum number of servers or disks on a page.
        faults: Faults by API call: `throttled`, `crash` (as if by kill -9), `hang`, or `failed`
            (the call is accepted, and then its action fails). `throttled*2` happens twice only.

    Raises:
        ValueError: A fault is none of these.
        CloudDownError: The file can't be used.
    """

    def __init__(
        self,
        file: str = "embedded-cloud.sqlite",
        *,
        quota: int = 1000,
        latency: float = 0.0,
        action_time: float = 0.0,
        page_size: int = PAGE_SIZE,
        faults: Mapping[str, str] | None = None,
    ) -> None:
        self._file = file
        self.quota = quota
        self.latency = latency
        self.action_time = action_time
        self.page_size = page_size
        self._faults = _Faults(faults or {})
        self._one_at_a_time = threading.Lock()
        self._before: Callable[[str], None] | None = None
        with self.transaction() as db:
            _set_up(db)

    @classmethod
    def from_environment(cls) -> "EmbeddedCloud":
        """Return the cloud that the variables EMBEDDED_CLOUD_* describe.

        They are EMBEDDED_CLOUD_FILE, _QUOTA, _LATENCY, _ACTION_TIME and _FAULTS.

        Raises:
            ValueError: One of them is malformed.
            CloudDownError: The file can't be used.
        """
        read = os.environ.get
        pairs = [pair for pair in read("EMBEDDED_CLOUD_FAULTS", "").split(",") if pair]
        try:
            return cls(
                read("EMBEDDED_CLOUD_FILE", "embedded-cloud.sqlite"),
                quota=int(read("EMBEDDED_CLOUD_QUOTA", "1000")),
                latency=float(read("EMBEDDED_CLOUD_LATENCY", "0")),
                action_time=float(read("EMBEDDED_CLOUD_ACTION_TIME", "0")),
                faults={call: fault for call, _, fault in (pair.partition("=") for pair in pairs)},
            )
        except ValueError as error:
            raise ValueError(
                f"a variable of the embedded cloud is malformed ({error}); examples: "
                "EMBEDDED_CLOUD_QUOTA=10 EMBEDDED_CLOUD_LATENCY=0.5 EMBEDDED_CLOUD_ACTION_TIME=3 "
                "EMBEDDED_CLOUD_FAULTS=create_server=throttled*2,delete_server=crash"
            ) from None

    def set_token(self, token: str, access: Literal["write", "read"] | None) -> None:
        """Allow a token to write or read, or revoke it with None."""
        with self.transaction() as db:
            db.execute("DELETE FROM tokens WHERE digest = ?", [_digest(token)])
            if access is not None:
                db.execute("INSERT INTO tokens VALUES (?, ?)", [_digest(token), access])

    def is_up(self) -> bool:
        """Return whether the cloud answers.

        Raises:
            ApiError: The cloud does not answer.
        """
        self.arrive("get_account")
        with self.transaction() as db:
            return db.execute("SELECT count(*) FROM tokens").fetchone() is not None

    # What tests may see and do

    def servers(self) -> list[Server]:
        """Return all servers in all regions, sorted by ID."""
        with self.transaction() as db:
            return [_server(row) for row in db.execute("SELECT * FROM servers ORDER BY id")]

    def disks(self) -> list[Disk]:
        """Return all disks in all regions, sorted by ID."""
        with self.transaction() as db:
            return [_disk(row) for row in db.execute("SELECT * FROM disks ORDER BY id")]

    def user_data(self, server_id: str) -> str:
        """Return the user data that a server boots with."""
        with self.transaction() as db:
            (text,) = db.execute(
                "SELECT user_data FROM servers WHERE id = ?", [server_id]
            ).fetchone()
            return str(text)

    def rename(self, server_id: str, name: str) -> None:
        """Change a server's display name, as people do in a console."""
        self._change(server_id, "name = ?", name)

    def relabel(self, server_id: str, labels: Mapping[str, str]) -> None:
        """Replace a server's labels, as people do in a console."""
        self._change(server_id, "labels = ?", json.dumps(dict(labels)))

    def copy(self, server_id: str) -> str:
        """Create a copy of a server, and return its ID."""
        twin = _new_id("srv")
        with self.transaction() as db:
            db.execute("CREATE TEMP TABLE twin AS SELECT * FROM servers WHERE id = ?", [server_id])
            db.execute("UPDATE twin SET id = ?, request_token = NULL", [twin])
            db.execute("INSERT INTO servers SELECT * FROM twin")
        return twin

    def remove(self, server_id: str) -> None:
        """Remove a server behind the driver's back; its disks stay."""
        with self.transaction() as db:
            db.execute("DELETE FROM servers WHERE id = ?", [server_id])

    def _change(self, server_id: str, assignment: str, value: str) -> None:
        with self.transaction() as db:
            db.execute(f"UPDATE servers SET {assignment} WHERE id = ?", [value, server_id])  # noqa: S608 - not from outside

    @contextmanager
    def before_each_call(self, act: Callable[[str], None]) -> Iterator[None]:
        """Call a function before each API call, for as long as the context is open."""
        self._before = act
        try:
            yield
        finally:
            self._before = None

    def failing(self, error: Exception) -> AbstractContextManager[None]:
        """Make every API call fail with `error`."""

        def fail(_call: str) -> None:
            raise error

        return self.before_each_call(fail)

    @contextmanager
    def interrupted_at(self, call: str) -> Iterator[threading.Event]:
        """Make the first API call of this name fail; then set the event.

        The driver does not expect this error, so it ends the call. Other errors don't end a wait.
        """
        reached = threading.Event()

        def fail(name: str) -> None:
            if name == call and not reached.is_set():
                reached.set()
                raise ApiError(f"{name} was interrupted")

        with self.before_each_call(fail):
            yield reached

    @contextmanager
    def failing_action(self, call: str) -> Iterator[threading.Event]:
        """Accept the first API call of this name, and make its action fail."""
        reached = threading.Event()

        def fail(name: str) -> None:
            if name == call and not reached.is_set():
                reached.set()
                self._faults.add(call, "failed*1")

        with self.before_each_call(fail):
            yield reached

    @contextmanager
    def pending_actions(self) -> Iterator[None]:
        """Prevent all actions from finishing for as long as the context is open."""
        before, self.action_time = self.action_time, float("inf")
        try:
            yield
        finally:
            self.action_time = before
            with self.transaction() as db:
                db.execute("UPDATE servers SET ends_at = 0 WHERE ends_at > 1e300")
                _end_actions(db)

    @contextmanager
    def stranger(self, region: str, name: str) -> Iterator[None]:
        """Add a server of this name that belongs to somebody else, without labels."""
        with self.transaction() as db:
            values = [_new_id("srv"), region, name, "{}", "running", IMAGES[0], MACHINE_TYPES[0]]
            _insert_server(db, [*values, "elsewhere", "[]", "", None])
        try:
            yield
        finally:
            self.remove(values[0])

    @contextmanager
    def hold(self, call: str = "") -> Iterator[threading.Event]:
        """Block the first API call (of this name); set the event once it waits."""
        waiting, go_on = threading.Event(), threading.Event()

        def wait(name: str) -> None:
            if call in ("", name) and not waiting.is_set():
                waiting.set()
                go_on.wait()

        with self.before_each_call(wait):
            try:
                yield waiting
            finally:
                go_on.set()

    # What clients need

    def arrive(self, call: str) -> bool:
        """Wait for the duration of an API call, and inject a fault if one is configured.

        Returns:
            True if the action that the call starts should fail.
        """
        time.sleep(self.latency)
        if self._before is not None:
            self._before(call)
        return self._faults.strike(call)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open the file and run one transaction, which takes effect completely or not at all."""
        try:
            with (
                self._one_at_a_time,
                closing(sqlite3.connect(self._file, isolation_level=None)) as db,
            ):
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA busy_timeout = 30000")
                db.execute("BEGIN IMMEDIATE")
                _end_actions(db)
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise CloudDownError(
                f"can't use the embedded cloud's file {self._file}: {error}"
            ) from None


class Client:
    """The API calls, made with a token. The cloud checks the token in each call."""

    def __init__(self, cloud: EmbeddedCloud, token: str) -> None:
        self._cloud = cloud
        self._digest = _digest(token)

    def list_servers(
        self, region: str, labels: Mapping[str, str], after: str | None = None
    ) -> Page[Server]:
        """Return a page of the servers in a region that have all these labels."""
        with self._call("list_servers", "read") as (db, _):
            return _page(db, "servers", region, labels, after, self._cloud.page_size, _server)

    def get_server(self, region: str, server_id: str) -> Server:
        """Return a server.

        Raises:
            NotFoundError: No such ID exists.
        """
        with self._call("get_server", "read") as (db, _):
            return _server(_row(db, region, server_id))

    def create_server(
        self,
        region: str,
        name: str,
        *,
        image: str,
        machine_type: str,
        labels: Mapping[str, str],
        user_data: str,
        request_token: str,
    ) -> Server:
        """Start creating a server, which has no disk and no network yet, and is not started.

        Args:
            region: One of the cloud's regions.
            name: The display name.
            image: One of `IMAGES`.
            machine_type: One of `MACHINE_TYPES`.
            labels: Labels to store with it.
            user_data: The user data that it boots with.
            request_token: If an earlier call had the same token, its server is returned.

        Raises:
            NoSuchValueError: The cloud does not have this region, image or machine type.
            QuotaError: The account's quota of servers is used up.
        """
        for field, value, offered in (
            ("region", region, REGIONS),
            ("image", image, IMAGES),
            ("machine_type", machine_type, MACHINE_TYPES),
        ):
            if value not in offered:
                raise NoSuchValueError(field, value, offered)
        same_request = "SELECT * FROM servers WHERE request_token = ?"
        with self._call("create_server", "write") as (db, fails):
            if row := db.execute(same_request, [request_token]).fetchone():
                return _server(row)
            (count,) = db.execute("SELECT count(*) FROM servers").fetchone()
            if count >= self._cloud.quota:
                raise QuotaError(f"the account's quota of {self._cloud.quota} servers is used up")
            values = [_new_id("srv"), region, name, json.dumps(dict(labels)), "creating", image]
            values += [machine_type, "", "[]", user_data, request_token]
            _insert_server(db, values)
            _begin(db, values[0], "create", fails, self._cloud.action_time)
            return _server(_row(db, region, values[0]))

    def attach_network(self, server: Server, subnet: str, security_groups: Sequence[str]) -> Server:
        """Start attaching a server to a network. Attaching it again changes the network."""
        with self._call("attach_network", "write") as (db, fails):
            db.execute(
                "UPDATE servers SET subnet = ?, security_groups = ? WHERE id = ?",
                [subnet, json.dumps(list(security_groups)), server.id],
            )
            _begin(db, server.id, "attach_network", fails, self._cloud.action_time)
            return _server(_row(db, server.region, server.id))

    def create_disk(
        self, server: Server, name: str, size_gib: int, type_: str, labels: Mapping[str, str]
    ) -> None:
        """Create a disk for a server, unless the server already has one of this name.

        Raises:
            SizeError: The cloud does not offer this size.
        """
        if size_gib > MAX_DISK_GIB:
            raise SizeError(f"disk {name} of {size_gib} GiB is above {MAX_DISK_GIB} GiB")
        with self._call("create_disk", "write") as (db, _):
            db.execute(
                "INSERT OR IGNORE INTO disks VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    _new_id("disk"),
                    server.region,
                    server.id,
                    name,
                    size_gib,
                    type_,
                    json.dumps(dict(labels)),
                ],
            )

    def start_server(self, server: Server) -> None:
        """Start a server; this takes a while."""
        with self._call("start_server", "write") as (db, fails):
            _begin(db, server.id, "start", fails, self._cloud.action_time)

    def allow_forwarding(self, server: Server) -> None:
        """Let a server send packets from addresses other than its own.

        Raises:
            NotRunningError: The server is not running.
        """
        with self._call("allow_forwarding", "write") as (db, _):
            if _row(db, server.region, server.id)["status"] != "running":
                raise NotRunningError(f"server {server.id} is not running; start it first")
            db.execute("UPDATE servers SET forwards = 1 WHERE id = ?", [server.id])

    def stop_server(self, server: Server) -> None:
        """Start stopping a server."""
        with self._call("stop_server", "write") as (db, fails):
            _begin(db, server.id, "stop", fails, self._cloud.action_time)

    def delete_server(self, region: str, server_id: str) -> None:
        """Start deleting a server. Its disks stay.

        Raises:
            NotFoundError: No such ID exists.
        """
        with self._call("delete_server", "write") as (db, fails):
            _row(db, region, server_id)
            db.execute("UPDATE servers SET status = 'deleting' WHERE id = ?", [server_id])
            _begin(db, server_id, "delete", fails, self._cloud.action_time)

    def list_disks(
        self, region: str, labels: Mapping[str, str], after: str | None = None
    ) -> Page[Disk]:
        """Return a page of the disks in a region that have all these labels."""
        with self._call("list_disks", "read") as (db, _):
            return _page(db, "disks", region, labels, after, self._cloud.page_size, _disk)

    def delete_disk(self, region: str, disk_id: str) -> None:
        """Delete a disk.

        Raises:
            NotFoundError: No such ID exists.
        """
        with self._call("delete_disk", "write") as (db, _):
            if not db.execute(
                "DELETE FROM disks WHERE region = ? AND id = ?", [region, disk_id]
            ).rowcount:
                raise NotFoundError(f"there is no disk {disk_id}")

    @contextmanager
    def _call(self, name: str, access: str) -> Iterator[tuple[sqlite3.Connection, bool]]:
        """Make one API call: check the token, and run one transaction.

        Yields:
            The database, and whether the action that the call begins should fail.
        """
        try:
            yield from self._answer(name, access)
        except ApiError as error:
            error.request_id = _new_id("req")
            raise

    def _answer(self, name: str, access: str) -> Iterator[tuple[sqlite3.Connection, bool]]:
        fails = self._cloud.arrive(name)
        with self._cloud.transaction() as db:
            row = db.execute(
                "SELECT access FROM tokens WHERE digest = ?", [self._digest]
            ).fetchone()
            if row is None:
                raise UnknownTokenError("the API token is not valid; check the Secret's apiToken")
            if access == "write" and row["access"] != "write":
                raise ReadOnlyTokenError(f"the API token may only read, and {name} writes")
            yield db, fails


class _Faults:
    """The faults to inject, and how often."""

    KINDS: Final = ("throttled", "crash", "hang", "failed")

    def __init__(self, faults: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, tuple[str, float]] = {}
        for call, fault in faults.items():
            self.add(call, fault)

    def add(self, call: str, fault: str) -> None:
        """Make calls of this name fail."""
        kind, _, times = fault.partition("*")
        if call not in API_CALLS or kind not in self.KINDS or not (times or "1").isdigit():
            raise ValueError(
                f"{call}={fault} is not a fault; use a call such as create_server, and "
                "throttled, crash, hang, failed or hang*2"
            )
        with self._lock:
            self._left[call] = (kind, int(times) if times else float("inf"))

    def strike(self, call: str) -> bool:
        """Inject the call's fault, if it has one; return True if its action should fail."""
        with self._lock:
            kind, left = self._left.get(call, ("", 0))
            if left <= 0:
                return False
            self._left[call] = (kind, left - 1)
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            threading.Event().wait()
        if kind == "throttled":
            raise ThrottledError(f"too many calls of {call}; try again")
        return True


_SCHEMA: Final = """
CREATE TABLE servers (id PRIMARY KEY, region, name, labels, status, image, machine_type, subnet,
    security_groups, user_data, request_token UNIQUE, command, ends_at, error, forwards);
CREATE TABLE disks (id PRIMARY KEY, region, server_id, name, size_gib, type, labels,
    UNIQUE (server_id, name));
CREATE TABLE tokens (digest PRIMARY KEY, access);
PRAGMA user_version = 1
"""

_STATUS_AFTER: Final[Mapping[str, Status]] = {
    "create": "created",
    "start": "running",
    "stop": "stopped",
}


def _set_up(db: sqlite3.Connection) -> None:
    """Create the tables and the first tokens in a new file."""
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        tokens = [(_digest("demo-token"), "write"), (_digest("demo-reader"), "read")]
        db.executemany("INSERT INTO tokens VALUES (?, ?)", tokens)


def _insert_server(db: sqlite3.Connection, values: Sequence[str | None]) -> None:
    """Insert a server without an action."""
    defaults = "'', NULL, '', 0"
    db.execute(f"INSERT INTO servers VALUES ({'?, ' * len(values)}{defaults})", values)  # noqa: S608 - constants


def _begin(
    db: sqlite3.Connection, server_id: str, command: str, fails: bool, seconds: float
) -> None:
    """Begin an action on a server, which ends after some seconds."""
    error = "there is no room for it at the moment" if fails else ""
    db.execute(
        "UPDATE servers SET command = ?, ends_at = ?, error = ? WHERE id = ?",
        [command, time.time() + seconds, error, server_id],
    )
    _end_actions(db)


def _end_actions(db: sqlite3.Connection) -> None:
    """Apply the actions that are due. Their `ends_at` is NULL afterwards."""
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        return
    due = "ends_at <= ? AND error = ''"
    now = time.time()
    db.execute(f"DELETE FROM servers WHERE command = 'delete' AND {due}", [now])  # noqa: S608 - a constant
    for command, status in _STATUS_AFTER.items():
        db.execute(
            f"UPDATE servers SET status = ? WHERE command = ? AND {due}",  # noqa: S608 - a constant
            [status, command, now],
        )
    db.execute("UPDATE servers SET ends_at = NULL WHERE ends_at <= ?", [now])


def _page(
    db: sqlite3.Connection,
    table: Literal["servers", "disks"],
    region: str,
    labels: Mapping[str, str],
    after: str | None,
    size: int,
    read: Callable[[sqlite3.Row], T],
) -> Page[T]:
    has_label = " AND EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)"
    wanted = [text for label in labels.items() for text in label]
    rows = db.execute(
        f"SELECT * FROM {table} WHERE region = ? AND id > ?"  # noqa: S608 - made of constants
        f"{has_label * len(labels)} ORDER BY id LIMIT ?",
        [region, after or "", *wanted, size + 1],
    ).fetchall()
    items = rows[:size]
    return Page([*map(read, items)], items[-1]["id"] if len(rows) > size else None)


def _row(db: sqlite3.Connection, region: str, server_id: str) -> Any:
    row = db.execute(
        "SELECT * FROM servers WHERE region = ? AND id = ?", [region, server_id]
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no server {server_id} in {region}")
    return row


def _server(row: sqlite3.Row) -> Server:
    is_running = row["ends_at"] is not None
    status: Literal["running", "failed", "succeeded"] = (
        "running" if is_running else "failed" if row["error"] else "succeeded"
    )
    return Server(
        id=row["id"],
        region=row["region"],
        name=row["name"],
        labels=json.loads(row["labels"]),
        status=row["status"],
        image=row["image"],
        machine_type=row["machine_type"],
        subnet=row["subnet"],
        address=_address(row["id"]) if row["subnet"] else "",
        security_groups=tuple(json.loads(row["security_groups"])),
        forwards=bool(row["forwards"]),
        action=Action(row["command"], status, "" if is_running else row["error"]),
    )


def _address(server_id: str) -> str:
    """Return the address that the network gives a server; it is always the same."""
    return f"10.{'.'.join(map(str, hashlib.sha256(server_id.encode()).digest()[:3]))}"


def _disk(row: sqlite3.Row) -> Disk:
    return Disk(
        row["id"],
        row["region"],
        row["server_id"],
        row["name"],
        row["size_gib"],
        row["type"],
        json.loads(row["labels"]),
    )


def _new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
