"""What the rules have to do, case by case, with a cloud that is kept in memory.

Each case is a function that takes the module with the rules as its argument. This way, all cases
can also run against a module in which one rule was broken on purpose.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pytest

from cmi import (
    VM,
    AddressType,
    AlreadyExists,
    CreateMachineRequest,
    DeleteMachineRequest,
    DriverError,
    ErrorTable,
    FailedPrecondition,
    GetMachineStatusRequest,
    GetVolumeIDsRequest,
    InitializeMachineRequest,
    Internal,
    Leftover,
    ListMachinesRequest,
    NodeAddress,
    NotFound,
    OutOfRange,
    PersistentVolumeSpec,
    ResourceExhausted,
    Session,
    ShutDownMachineRequest,
    Unavailable,
    VMState,
    errors,
)
from tests.framework.support import Keys, Scope, Spec

Rules: TypeAlias = Any
Case: TypeAlias = Callable[[Rules], None]

TAGS = {"kubernetes.io/cluster/one": "1", "kubernetes.io/role/node": "1"}
SCOPE = Scope(tags=TAGS, region="north")
SPEC = Spec(tags=TAGS, region="north")
KEYS = Keys.model_validate({"apiToken": b"token"})


class Throttled(Exception):
    """The cloud got too many calls."""


class NotBegun(Exception):
    """The cloud got too many calls, and did not begin this one."""


ERRORS: ErrorTable = {Throttled: Unavailable, NotBegun: errors.Throttled}
"""The driver's table of errors."""

MOST_CALLS = 60
"""A rule that makes more calls than this waits for something that never happens."""


def vm(provider_id: str = "vm-1", state: VMState = VMState.RUNNING, **fields: Any) -> VM:
    return VM(
        **{
            "name": "m1",
            "provider_id": provider_id,
            "node_name": f"node-of-{provider_id}",
            "cluster": "one",
            "role": "node",
            "state": state,
        }
        | fields
    )


def leftover(**fields: Any) -> Leftover:
    return Leftover(
        **{
            "kind": "disk",
            "id": "disk-1",
            "machine": "m1",
            "provider_id": "vm-0",
            "cluster": "one",
            "role": "node",
        }
        | fields
    )


@dataclass
class FakeSession(Session[Scope, Spec, Keys, VM]):
    """A cloud that carries out each request after the VM was read `patience` times.

    Attributes:
        vms: The VMs that exist.
        leftovers: The resources that deleted VMs have left behind.
        made: The VM that CreateMachine gets, followed by each later state of that VM.
        differing: The result of `differences`.
        log: The calls that change something, with the ID of what they change.
        hidden_looks: How many more reads do not show a new VM yet.
        troubles: The exceptions that the next calls of a method raise, by the method's name.
    """

    vms: list[VM] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    made: list[VM] = field(default_factory=lambda: [vm()])
    differing: Sequence[str] = ()
    log: list[str] = field(default_factory=list)
    hidden_looks: int = 0
    troubles: dict[str, list[Exception]] = field(default_factory=dict)
    patience: int = 0
    calls: int = 0

    def list_vms(self, scope: Scope) -> list[VM]:
        self._count()
        self._may_fail("list_vms")
        return [*self.vms]

    def get_vm(self, scope: Scope, provider_id: str) -> VM | None:
        self._count()
        self._may_fail("get_vm")
        if self.hidden_looks:
            self.hidden_looks -= 1
            return None
        for index, each in enumerate(self.vms):
            if each.provider_id == provider_id:
                self._pass_time(index)
                break
        return next((each for each in self.vms if each.provider_id == provider_id), None)

    def create_vm(self, name: str, spec: Spec, secrets: Keys) -> VM:
        self._may_fail("create_vm")
        self.log.append(f"create {name}")
        self.vms.append(self.made.pop(0))
        return self.vms[-1]

    def advance_vm(self, vm: VM, spec: Spec, secrets: Keys) -> None:
        self._count()
        self._may_fail("advance_vm")
        self.log.append(f"advance {vm.provider_id}")
        if self.made:
            self.vms = [
                self.made.pop(0) if each.provider_id == vm.provider_id else each
                for each in self.vms
            ]

    def initialize_vm(self, vm: VM, spec: Spec, secrets: Keys) -> None:
        self._may_fail("initialize_vm")
        self.log.append(f"initialize {vm.provider_id}")

    def differences(self, vm: VM, spec: Spec) -> Sequence[str]:
        return self.differing

    def stop_vm(self, vm: VM) -> None:
        self._may_fail("stop_vm")
        self.log.append(f"stop {vm.provider_id}")

    def delete_vm(self, vm: VM) -> None:
        self._may_fail("delete_vm")
        self.log.append(f"delete {vm.provider_id}")

    def list_leftovers(self, scope: Scope, name: str | None = None) -> Iterable[Leftover]:
        self._count()
        self._may_fail("list_leftovers")
        return [*self.leftovers]

    def delete_leftover(self, leftover: Leftover) -> None:
        self._may_fail("delete_leftover")
        self.log.append(f"delete {leftover.id}")
        self.leftovers.remove(leftover)

    def _pass_time(self, index: int) -> None:
        """Carry out one of the requested changes, once the VM was read often enough."""
        if self.patience:
            self.patience -= 1
        elif f"delete {self.vms[index].provider_id}" in self.log:
            del self.vms[index]
        elif f"stop {self.vms[index].provider_id}" in self.log:
            self.vms[index] = replace(self.vms[index], state=VMState.STOPPED)
        elif f"initialize {self.vms[index].provider_id}" in self.log:
            self.vms[index] = replace(self.vms[index], is_initialized=True)

    def _may_fail(self, method: str) -> None:
        if waiting := self.troubles.get(method):
            raise waiting.pop(0)

    def _count(self) -> None:
        self.calls += 1
        assert self.calls < MOST_CALLS, "the rule waits for something that never happens"


def create(rules: Rules, session: FakeSession) -> Any:
    return rules.create_machine(
        session, CreateMachineRequest(machine_name="m1", provider_spec=SPEC, secrets=KEYS)
    )


def delete(rules: Rules, session: FakeSession, provider_id: str = "") -> Any:
    return rules.delete_machine(
        session,
        DeleteMachineRequest(
            machine_name="m1", provider_spec=SCOPE, secrets=KEYS, provider_id=provider_id
        ),
    )


def status(rules: Rules, session: FakeSession, provider_id: str = "") -> Any:
    return rules.get_machine_status(
        session,
        GetMachineStatusRequest(
            machine_name="m1", provider_spec=SCOPE, secrets=KEYS, provider_id=provider_id
        ),
    )


def initialize(rules: Rules, session: FakeSession, provider_id: str = "") -> Any:
    return rules.initialize_machine(
        session,
        InitializeMachineRequest(
            machine_name="m1", provider_spec=SPEC, secrets=KEYS, provider_id=provider_id
        ),
    )


def shut_down(rules: Rules, session: FakeSession, provider_id: str = "") -> Any:
    return rules.shut_down_machine(
        session,
        ShutDownMachineRequest(
            machine_name="m1", provider_spec=SCOPE, secrets=KEYS, provider_id=provider_id
        ),
    )


def listed(rules: Rules, session: FakeSession) -> Any:
    return rules.list_machines(session, ListMachinesRequest(provider_spec=SCOPE, secrets=KEYS))


def refused(error: type[DriverError], *mentioned: str) -> Any:
    return pytest.raises(error, match=".*".join(mentioned))


def creates_a_vm(rules: Rules) -> None:
    session = FakeSession()
    answer = create(rules, session)
    assert (answer.provider_id, answer.node_name) == ("vm-1", "node-of-vm-1")
    assert session.log == ["create m1"]


def does_not_look_at_what_it_has_just_seen(rules: Rules) -> None:
    """Reading a VM again costs a request, and a cloud throttles whoever sends too many."""
    session = FakeSession()
    create(rules, session)
    assert session.calls == 1, "one read, to find the VM of an earlier try"
    session = FakeSession(made=[vm(state=VMState.CREATING), vm()])
    create(rules, session)
    assert session.calls == 3, "one more step, and one read that shows its effect"


def adopts_the_vm_of_an_earlier_try(rules: Rules) -> None:
    session = FakeSession([vm()])
    assert create(rules, session).provider_id == "vm-1"
    assert session.log == []


def finishes_a_new_vm_step_by_step(rules: Rules) -> None:
    steps = [vm(state=VMState.CREATING), vm(state=VMState.CREATING), vm()]
    session = FakeSession(made=steps)
    assert create(rules, session).provider_id == "vm-1"
    assert session.log == ["create m1", "advance vm-1", "advance vm-1"]


def finishes_a_half_made_vm(rules: Rules) -> None:
    session = FakeSession([vm(state=VMState.CREATING)])
    assert create(rules, session).provider_id == "vm-1"
    assert session.log == ["advance vm-1"]


def a_new_vm_may_be_reported_late(rules: Rules) -> None:
    session = FakeSession(made=[vm(state=VMState.CREATING), vm()], hidden_looks=3)
    assert create(rules, session).provider_id == "vm-1"


def a_vm_that_vanishes_while_it_is_made_is_not_waited_for(rules: Rules) -> None:
    for hidden in (0, 1):
        session = FakeSession(made=[vm(state=VMState.CREATING)], hidden_looks=hidden)

        def vanish(self: FakeSession = session) -> None:
            FakeSession._count(self)
            if self.log.count("advance vm-1") == 3:
                self.vms.clear()

        session._count = vanish  # type: ignore[method-assign]
        with refused(Unavailable, "vanished"):
            create(rules, session)
    with refused(Unavailable, "vanished"):
        create(rules, FakeSession([vm(state=VMState.CREATING)], made=[], hidden_looks=1))


def another_spec_is_refused(rules: Rules) -> None:
    session = FakeSession([vm()], differing=["image", "disks"])
    with refused(AlreadyExists, "m1", "image, disks"):
        create(rules, session)
    assert session.log == []


def a_stopped_vm_is_not_created_again(rules: Rules) -> None:
    with refused(FailedPrecondition, "m1", "stopped"):
        create(rules, FakeSession([vm(state=VMState.STOPPED)]))


def a_vm_on_its_way_out_is_not_adopted(rules: Rules) -> None:
    with refused(Unavailable, "being deleted"):
        create(rules, FakeSession([vm(state=VMState.DELETING)]))


def a_vm_that_the_cloud_gives_up_says_why(rules: Rules) -> None:
    """The VM may be `DELETING` by then, so a retry could no longer find the reason."""
    failure = ResourceExhausted("no room")
    for state in (VMState.DELETING, VMState.GONE):
        session = FakeSession(made=[vm(state=VMState.CREATING), vm(state=state, failure=failure)])
        with refused(ResourceExhausted, "no room"):
            create(rules, session)


def a_gone_vm_is_created_again(rules: Rules) -> None:
    session = FakeSession([vm("vm-0", VMState.GONE)])
    assert create(rules, session).provider_id == "vm-1"


def a_failed_vm_is_deleted_and_its_failure_reported(rules: Rules) -> None:
    failed = vm(state=VMState.FAILED, failure=ResourceExhausted("no room"))
    made = [vm(state=VMState.CREATING), failed]
    for session in (FakeSession([failed]), FakeSession(made=made)):
        session.leftovers = [leftover(provider_id="vm-1")]
        with refused(ResourceExhausted, "no room"):
            create(rules, session)
        assert session.log[-2:] == ["delete vm-1", "delete disk-1"]


def a_vm_that_ends_during_its_creation_is_reported(rules: Rules) -> None:
    gone = vm(state=VMState.GONE)
    session = FakeSession(made=[vm(state=VMState.CREATING), gone])
    with refused(Unavailable, "without a reason"):
        create(rules, session)
    assert session.log == ["create m1", "advance vm-1"]


def trouble_that_passes_does_not_end_a_wait(rules: Rules) -> None:
    def throttled(*methods: str) -> dict[str, list[Exception]]:
        return {method: [Throttled(), Throttled()] for method in methods}

    session = FakeSession(made=[vm(state=VMState.CREATING), vm()])
    session.troubles = throttled("get_vm", "advance_vm")
    assert create(rules, session).provider_id == "vm-1"
    session = FakeSession([vm()], [leftover()])
    session.troubles = throttled("list_leftovers", "delete_leftover", "get_vm")
    delete(rules, session)
    assert session.log == ["delete vm-1", "delete disk-1"]
    session = FakeSession([vm()], troubles=throttled("get_vm"))
    shut_down(rules, session)


def a_call_that_was_throttled_is_made_again(rules: Rules) -> None:
    def throttled(*methods: str) -> dict[str, list[Exception]]:
        return {method: [NotBegun(), NotBegun()] for method in methods}

    session = FakeSession(troubles=throttled("list_vms", "create_vm"))
    assert create(rules, session).provider_id == "vm-1"
    assert session.log == ["create m1"]
    half_made = FakeSession(made=[vm(state=VMState.CREATING), vm()])
    half_made.troubles = {"advance_vm": [errors.Throttled()]}
    assert create(rules, half_made).provider_id == "vm-1"
    session = FakeSession([vm()], troubles=throttled("get_vm", "delete_vm"))
    delete(rules, session, "vm-1")
    assert session.log == ["delete vm-1"]
    session = FakeSession([vm()], troubles=throttled("get_vm", "stop_vm"))
    shut_down(rules, session)
    assert session.log == ["stop vm-1"]


def a_vm_that_was_made_all_the_same_is_adopted(rules: Rules) -> None:
    """An SDK repeats a request whose answer was lost, and the cloud throttles the second one."""
    session = FakeSession(made=[vm("vm-1"), vm("vm-2")])

    def make_and_lose(*arguments: Any) -> VM:
        FakeSession.create_vm(session, *arguments)
        raise NotBegun

    session.create_vm = make_and_lose  # type: ignore[assignment, method-assign]
    assert create(rules, session).provider_id == "vm-1"
    assert session.log == ["create m1"]


def a_call_that_may_have_begun_is_not_made_again(rules: Rules) -> None:
    """MCM repeats the call, which then looks for what the first one has begun."""
    for method in ("list_vms", "create_vm"):
        session = FakeSession(troubles={method: [Throttled()]})
        with pytest.raises(Throttled):
            create(rules, session)
    session = FakeSession([vm()], troubles={"delete_vm": [Throttled()]})
    with pytest.raises(Throttled):
        delete(rules, session)


def other_trouble_ends_a_wait(rules: Rules) -> None:
    """Even `Unavailable` of `cmi` ends it, if an author raises it in a step like `advance_vm`."""
    for method, error in (
        ("get_vm", NotFound("no such project")),
        ("get_vm", KeyError("a defect")),
        ("advance_vm", Unavailable("20 % are done")),
        ("advance_vm", KeyError("a defect")),
    ):
        session = FakeSession(made=[vm(state=VMState.CREATING), vm()])
        session.troubles = {method: [error]}
        with pytest.raises(type(error)):
            create(rules, session)
    failed = vm(state=VMState.FAILED, failure=Throttled())
    with pytest.raises(Throttled):
        create(rules, FakeSession(made=[vm(state=VMState.CREATING), failed]))


def a_strangers_vm_is_not_adopted(rules: Rules) -> None:
    strangers: list[dict[str, Any]]
    strangers = [{"cluster": "two"}, {"role": "etcd"}, {"cluster": ""}, {"name": "m2"}]
    for stranger in strangers:
        session = FakeSession([vm("vm-9", **stranger)])
        assert create(rules, session).provider_id == "vm-1"


def a_vm_without_its_scope_is_a_defect(rules: Rules) -> None:
    wrongs: list[dict[str, Any]] = [{"cluster": ""}, {"role": "etcd"}, {"name": "m2"}]
    for wrong in wrongs:
        with refused(Internal, "vm-1", "m1", "one"):
            create(rules, FakeSession(made=[vm(**wrong)]))


def several_vms_of_a_machine_are_refused(rules: Rules) -> None:
    for call in (create, initialize, status, shut_down):
        session = FakeSession([vm("vm-1"), vm("vm-2")])
        with refused(OutOfRange, "m1", "2 VMs", "vm-1, vm-2"):
            call(rules, session)
        assert session.log == []


def deletes_all_vms_of_the_machine_and_what_is_left(rules: Rules) -> None:
    session = FakeSession([vm("vm-1"), vm("vm-2"), vm("vm-3", name="m2")], [leftover()], patience=2)
    delete(rules, session)
    assert [each.provider_id for each in session.vms] == ["vm-3"]
    assert session.log == ["delete vm-1", "delete vm-2", "delete disk-1"]


def deletes_the_vm_that_the_id_names(rules: Rules) -> None:
    """It may have another name by now, and other VMs with the same name are not deleted."""
    session = FakeSession([vm("vm-1", name="renamed"), vm("vm-2")])
    delete(rules, session, "vm-1")
    assert [each.provider_id for each in session.vms] == ["vm-2"]


def waits_for_a_vm_that_is_being_deleted(rules: Rules) -> None:
    session = FakeSession([vm(state=VMState.DELETING)], patience=2)
    session.log.append("delete vm-1")
    delete(rules, session)
    assert session.vms == []
    assert session.log == ["delete vm-1"]


def a_vm_that_is_still_shown_as_gone_is_gone(rules: Rules) -> None:
    session = FakeSession([vm(state=VMState.GONE)])
    delete(rules, session)
    assert session.log == []
    session = FakeSession([vm()])

    def end(vm: VM) -> None:
        session.vms = [replace(vm, state=VMState.GONE)]

    session.delete_vm = end  # type: ignore[method-assign]
    delete(rules, session)


def deletes_leftovers_of_a_vm_that_is_gone(rules: Rules) -> None:
    session = FakeSession(leftovers=[leftover(), leftover(id="disk-2", machine="m2")])
    delete(rules, session, "vm-0")
    assert session.log == ["delete disk-1"]


def leaves_other_clusters_alone(rules: Rules) -> None:
    others: list[dict[str, Any]] = [{"cluster": "two"}, {"role": "etcd"}]
    for other in others:
        for provider_id in ("", "vm-1"):
            session = FakeSession([vm(**other)], [leftover(**other)])
            delete(rules, session, provider_id)
            assert session.log == []
            with refused(NotFound, "m1", "cluster one"):
                status(rules, session, provider_id)
            with refused(NotFound, "m1"):
                shut_down(rules, session, provider_id)
        assert listed(rules, FakeSession([vm(**other)], [leftover(**other)])).machines == {}


def reports_a_vm(rules: Rules) -> None:
    for state in (VMState.RUNNING, VMState.STOPPED):
        for provider_id in ("", "vm-1"):
            answer = status(rules, FakeSession([vm(state=state)]), provider_id)
            assert (answer.provider_id, answer.node_name) == ("vm-1", "node-of-vm-1")


def reports_addresses_and_what_is_to_be_initialized(rules: Rules) -> None:
    addresses = [NodeAddress(AddressType.INTERNAL_IP, "10.0.0.1")]
    for is_initialized in (True, False):
        session = FakeSession(made=[vm(addresses=addresses, is_initialized=is_initialized)])
        assert create(rules, session).addresses == addresses
        answer = status(rules, session)
        assert answer.addresses == addresses
        assert answer.uninitialized is not is_initialized


def initializes_a_vm_and_waits(rules: Rules) -> None:
    for provider_id in ("", "vm-1"):
        addresses = [NodeAddress(AddressType.INTERNAL_IP, "10.0.0.1")]
        session = FakeSession([vm(is_initialized=False, addresses=addresses)], patience=2)
        session.troubles = {"initialize_vm": [Throttled()], "get_vm": []}
        for _ in range(2):
            answer = initialize(rules, session, provider_id)
            assert (answer.provider_id, answer.node_name) == ("vm-1", "node-of-vm-1")
            assert answer.addresses == addresses
            assert session.vms[0].is_initialized
        assert {*session.log} == {"initialize vm-1"}
        count, looks = len(session.log), session.calls
        initialize(rules, session, provider_id)
        assert len(session.log) == count, "a VM that is initialized is left alone"
        assert session.calls == looks + 1, "and looked at once"


def initializes_only_what_is_there(rules: Rules) -> None:
    for absent in ([], [vm(state=VMState.CREATING)], [vm(cluster="two")], [vm(role="etcd")]):
        session = FakeSession([replace(each, is_initialized=False) for each in absent])
        for provider_id in ("", "vm-1"):
            with refused(NotFound, "m1"):
                initialize(rules, session, provider_id)
        assert session.log == []


def a_vm_that_vanishes_while_it_is_initialized_is_not_waited_for(rules: Rules) -> None:
    for then in ([], [vm(state=VMState.DELETING)]):
        session = FakeSession([vm(is_initialized=False)])

        def vanish(
            _vm: VM, _spec: Spec, _keys: Keys, session: FakeSession = session, then: Any = then
        ) -> None:
            session.vms[:] = then

        session.initialize_vm = vanish  # type: ignore[assignment, method-assign]
        with refused(Unavailable, "vanished"):
            initialize(rules, session)
    stopped = FakeSession([vm(state=VMState.STOPPED, is_initialized=False)])
    initialize(rules, stopped)


def reports_a_renamed_vm_by_its_id(rules: Rules) -> None:
    session = FakeSession([vm(name="")])
    assert status(rules, session, "vm-1").provider_id == "vm-1"
    with refused(NotFound, "m1"):
        status(rules, session)


def does_not_report_what_is_not_finished(rules: Rules) -> None:
    for state in (VMState.CREATING, VMState.FAILED, VMState.DELETING):
        with refused(NotFound, "m1", state.value):
            status(rules, FakeSession([vm(state=state)]))
    with refused(NotFound, "does not exist"):
        status(rules, FakeSession([vm(state=VMState.GONE)]))


def lists_all_but_what_is_gone(rules: Rules) -> None:
    states = [*VMState]
    vms = [vm(f"vm-{number}", state) for number, state in enumerate(states)]
    expected = {each.provider_id: "m1" for each in vms if each.state is not VMState.GONE}
    answer = listed(rules, FakeSession(vms))
    assert answer.machines == expected
    assert answer.left_out == 0


def one_odd_vm_does_not_spoil_the_list(rules: Rules) -> None:
    odd = [vm("vm-2", name=""), vm("", name="m3"), vm("vm-4", name="x" * 129), vm("vm-5")]
    answer = listed(rules, FakeSession([*odd, vm("vm-6", name="x" * 128)]))
    assert answer.machines == {"vm-5": "m1", "vm-6": "x" * 128}
    assert answer.left_out == 3


def lists_what_is_left_of_vms(rules: Rules) -> None:
    left = [leftover(), leftover(id="disk-2", provider_id="vm-1", machine="m9")]
    odd = [leftover(machine="", provider_id="vm-7"), leftover(provider_id="", machine="m3")]
    answer = listed(rules, FakeSession([vm()], [*left, *odd]))
    assert answer.machines == {"vm-1": "m1", "vm-0": "m1"}


def stops_a_running_vm_and_waits(rules: Rules) -> None:
    session = FakeSession([vm()], patience=2)
    shut_down(rules, session)
    assert session.vms[0].state is VMState.STOPPED
    shut_down(rules, session)
    assert session.log == ["stop vm-1"]


def a_vm_that_vanishes_while_it_stops_is_not_waited_for(rules: Rules) -> None:
    session = FakeSession([vm()])
    session.stop_vm = lambda vm: session.vms.clear()  # type: ignore[method-assign]
    shut_down(rules, session)


def picks_the_volumes_of_the_cloud(rules: Rules) -> None:
    volumes = [PersistentVolumeSpec({"id": each}) for each in ("v1", "", None, "v2")]
    answer = rules.get_volume_ids(
        lambda volume: volume.fields["id"], GetVolumeIDsRequest(volumes=volumes)
    )
    assert [*answer.volume_ids] == ["v1", "v2"]


CASES: list[Case] = [
    case
    for name, case in list(globals().items())
    if getattr(case, "__annotations__", None) == {"rules": Rules, "return": None}
]
