"""What the conformance kit is pointed at."""

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
"""Makes something go wrong for as long as its context is open."""

Trap: TypeAlias = Callable[[], AbstractContextManager[threading.Event]]
"""The same; the context is an event, which is set once a call has met what goes wrong."""


@dataclass(frozen=True, kw_only=True)
class Backstage:
    """What the kit can do beside the driver, where both run in one process.

    Some items can't be seen through the API: a quota, a log, a second VM of the same name.
    Give the kit what your cloud, or its test double, makes possible. Items for which something
    is missing are skipped, and the report says so.

    A hook that takes a machine's name is called after CreateMachine of this machine, in the
    cluster of `Target.machine_class`. Hooks that are no contexts need not undo what they did:
    the kit deletes the machine afterwards.

    Attributes:
        failures: For status codes by name (RESOURCE_EXHAUSTED, OUT_OF_RANGE,
            FAILED_PRECONDITION, UNAVAILABLE, INTERNAL): makes CreateMachine of a new machine
            fail so (C13). INTERNAL is an exception that no table of errors has (C45). Put the
            values of the secrets into the texts of the exceptions, as SDKs do that quote their
            request: none may come out (C50).
        interruptions: By the names of the steps of CreateMachine and DeleteMachine, such as
            "create_disk": makes the next call that comes to this step fail there, once (C15,
            C29, C58). Add the actions that the cloud accepts and fails later, such as
            "attach_network fails after it was accepted". The event is set as soon as the step
            was reached.
        pending: Keeps every action that the cloud has accepted from coming to its end, so that
            a VM that is made does not get ready (C14).
        unhealthy: Makes something missing that the driver depends on (C6).
        hold: Keeps the next call to the cloud waiting for as long as the context is open; the
            event is set once that call waits (C57).
        stranger: Makes a VM of this name that belongs to no cluster: same account, region and
            display name, no tags. It goes when the context is closed. The name is new; the
            machine is created afterwards (C12, C19, C26, C29).
        duplicate: Makes a second VM of the machine, alike in all but its ID (C20, C25).
        rename: Gives the machine's VM another display name, the second argument, as people
            do in the cloud's console. Whatever else it carries stays (C20, C23, C29).
        unname: Takes from the machine's VM all that tells the name of its machine (C30).
        vanish: Deletes the machine's VM behind the driver's back and leaves its disks, ports
            or whatever else the cloud does not delete with a VM (C22, C29).
        parts: Returns what the cloud has of the machine: state, size, disks, networks. Leave
            out what differs between two VMs of one class, such as IDs, names and times: the
            kit compares the machine with another one by `==` (C58).
        tags: Returns the tags on the machine's VM, in the form that the machine class has
            them: a map, or a collection of strings (C58).
        user_data: Returns the user data that the machine's VM boots with, decoded (C58).
        snapshot: Returns all that the cloud has, comparable by `==`, to tell whether something
            changed (C12, C15, C19, C20, C22, C27, C29).
        log: Collects the lines that the driver logs at level debug while the context is open:
            the list grows with them, each as it would be written (C45, C50).
        denied_secrets: Valid credentials that must not create machines (C44).
        page_size: The most VMs that the cloud lists at once, however many are asked for. Let
            the double have small pages, of 3 for example: C31 makes one machine more (C31).
        command: Starts the driver as a process; `--endpoint=…` is added (C52).
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
    """A running driver, and what to send it.

    Attributes:
        endpoint: Where it listens.
        machine_class: A valid provider spec with its secrets. Machines are made from it.
        scope: The model that tells the cluster and the role of a spec; with it, the kit
            derives classes of other clusters and roles from a spec of any form. Without it, the
            kit understands the tags `kubernetes.io/cluster/<id>` and `kubernetes.io/role/<role>`
            in a map named `tags`.
        other_class: The class for another cluster of the same account; derived if None. Where
            it can't be derived, the items that need it are skipped.
        changed_class: A valid class of the same cluster and role that asks for another VM, of
            another size for example (C11); derived if None.
        moved_class: The class after it has moved, within its cluster, to another region, zone
            or project: wherever a VM of `machine_class` is only found by its provider ID (C20).
            None where a cloud has nothing of that kind.
        volumes: PersistentVolumeSpecs; of the driver's at least one by CSI, and one in-tree if
            Kubernetes ever had such a source for this cloud (C38).
        backstage: What can be done beside the driver; None for a remote one.
        tls: The files for TLS; None means plain text.
        insecure: Send secrets in plain text to an address that is not a loopback address, too.
        timeout: The deadline of a call, in seconds.
        patience: How long a call is repeated that is ABORTED or UNAVAILABLE, in seconds.
        parallel: The most calls at once.
        max_machines: The most machines that are there at once; at least 3. None is as many as
            the items need: 3, or one more than `Backstage.page_size`. Where the size of a page
            is not known, C31 makes as many as this says.
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
