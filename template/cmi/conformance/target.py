"""The target of the conformance kit: a driver, and access to its cloud."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from cmi.client import MachineClass
from cmi.endpoint import Endpoint
from cmi.spec import ClusterScope
from cmi.tls import TlsFiles

Switch: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Causes a fault for as long as its context is open."""

Trap: TypeAlias = Callable[[], AbstractContextManager[threading.Event]]
"""Causes a fault; the context is an event, which is set once a call has met the fault."""


@dataclass(frozen=True, kw_only=True)
class Backstage:
    """The kit's access to the driver's cloud, for a kit that runs in the driver's process.

    Some items can't be checked through the API: a quota, a log, a second VM of the same name.
    Implement the hooks that your cloud, or its test double, makes possible. The kit skips items
    whose hooks are missing, and says so in its report.

    The kit calls a hook that takes a machine's name after it has created that machine, in the
    cluster of `Target.machine_class`. A hook that is not a context manager need not undo its
    changes: the kit deletes the machine afterwards.

    Attributes:
        failures: By the names of status codes (RESOURCE_EXHAUSTED, OUT_OF_RANGE,
            FAILED_PRECONDITION, UNAVAILABLE, INTERNAL): makes CreateMachine of a new machine
            fail with this code (C13). For INTERNAL, use an exception that is in no table of
            errors (C45). Put the values of the secrets into the exceptions' texts, like an SDK
            that quotes its request: none of them may be shown (C50).
        interruptions: By the names of the steps of CreateMachine and DeleteMachine, such as
            "create_disk": makes the next call that reaches this step fail there, once (C15,
            C29, C58). Add the actions that the cloud accepts and that fail later, such as
            "attach_network fails after it was accepted". The event is set as soon as the step
            is reached.
        pending: Prevents every action that the cloud has accepted from finishing, so that a new
            VM does not become ready (C14).
        unhealthy: Removes something that the driver depends on (C6).
        hold: Blocks the next call to the cloud for as long as the context is open; the event is
            set once that call waits (C57).
        stranger: Creates a VM of this name that belongs to no cluster: same account, region and
            display name, but no tags. Deletes it when the context is closed. The name is new;
            the machine is created afterwards (C12, C19, C26, C29).
        duplicate: Creates a second VM of the machine that only differs in its ID (C20, C25).
        rename: Changes the display name of the machine's VM to the second argument, as people
            do in the cloud's console. Everything else stays (C20, C23, C29).
        unname: Removes everything from the machine's VM that contains its name (C30).
        vanish: Deletes the machine's VM behind the driver's back, and leaves its disks, ports
            or whatever else the cloud does not delete with a VM (C22, C29).
        parts: Returns what the cloud stores about the machine: state, size, disks, networks.
            Leave out what differs between two VMs of one class, such as IDs, names and times:
            the kit compares the machine with another one by `==` (C58).
        tags: Returns the tags on the machine's VM, in the same form as in the machine class: a
            map, or a collection of strings (C58).
        user_data: Returns the user data that the machine's VM boots with, decoded (C58).
        snapshot: Returns everything in the cloud, comparable by `==`, so that the kit notices
            changes (C12, C15, C19, C20, C22, C27, C29).
        log: Collects the lines that the driver logs at level debug while the context is open:
            they are appended to the list as they would be written (C45, C50).
        denied_secrets: Valid credentials that must not create machines (C44).
        page_size: The maximum number of VMs that the cloud returns in one list, however many
            are requested. Use small pages in a test double, of 3 for example: C31 creates one
            machine more than a page holds (C31).
        command: Starts the driver as a process; the kit adds `--endpoint=…` (C52).
        sources: The folders of the driver's code (C54).
    """

    failures: Mapping[str, Switch] = field(default_factory=dict)
    interruptions: Mapping[str, Trap] = field(default_factory=dict)
    pending: Switch | None = None
    unhealthy: Switch | None = None
    hold: Trap | None = None
    stranger: Callable[[str], AbstractContextManager[object]] | None = None
    duplicate: Callable[[str], object] | None = None
    rename: Callable[[str, str], object] | None = None
    unname: Callable[[str], object] | None = None
    vanish: Callable[[str], object] | None = None
    parts: Callable[[str], object] | None = None
    tags: Callable[[str], Mapping[str, str] | Collection[str]] | None = None
    user_data: Callable[[str], bytes] | None = None
    snapshot: Callable[[], object] | None = None
    log: Callable[[], AbstractContextManager[list[str]]] | None = None
    denied_secrets: Mapping[str, bytes] | None = None
    page_size: int | None = None
    command: Sequence[str] = ()
    sources: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running driver, and the input for it.

    Attributes:
        endpoint: The driver's address.
        machine_class: A valid provider spec with its secrets. The kit creates machines from it.
        scope: The model that contains the cluster and the role of a spec. With it, the kit can
            derive classes of other clusters and roles from a spec of any form. Without it, the
            kit understands the tags `kubernetes.io/cluster/<id>` and `kubernetes.io/role/<role>`
            in a map named `tags`.
        other_class: A class for another cluster in the same account; derived if None. If it
            can't be derived, the items that need it are skipped.
        changed_class: A valid class of the same cluster and role that asks for a different VM,
            for example of another size (C11); derived if None.
        moved_class: The class after it has moved, within its cluster, to another region, zone
            or project, where a VM of `machine_class` can only be found by its provider ID (C20).
            None if the cloud has nothing of that kind.
        volumes: PersistentVolumeSpecs, including at least one CSI volume in the driver's cloud,
            and an in-tree volume if Kubernetes ever had such a source for this cloud (C38).
        backstage: Access to the driver's cloud; None for a remote driver.
        tls: The files for TLS; None means plain text.
        insecure: Allow secrets in plain text to an address beyond loopback.
        timeout: The deadline of a call, in seconds.
        patience: How long to repeat a call that is ABORTED or UNAVAILABLE, in seconds.
        parallel: The maximum number of calls at once.
        max_machines: The maximum number of machines at once; at least 3. None means as many as
            the items need: 3, or one more than `Backstage.page_size`. If the page size is
            unknown, C31 creates this many machines.
    """

    endpoint: Endpoint
    machine_class: MachineClass
    scope: type[ClusterScope] | None = None
    other_class: MachineClass | None = None
    changed_class: MachineClass | None = None
    moved_class: MachineClass | None = None
    volumes: Sequence[Mapping[str, Any]] = ()
    backstage: Backstage | None = None
    tls: TlsFiles | None = None
    insecure: bool = False
    timeout: float = 300.0
    patience: float = 60.0
    parallel: int = 10
    max_machines: int | None = None
