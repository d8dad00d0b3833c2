"""Which reads of the cloud are shared by calls that run at the same time, and which are not."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pytest
from pydantic import SecretStr

from cmi import (
    VM,
    CreateMachineResponse,
    DeadlineExceeded,
    DeleteMachineRequest,
    Leftover,
    NotFound,
    Session,
    VMState,
    rules,
    waiting,
)
from cmi import looks as module
from cmi.endpoint import Endpoint
from cmi.groups import scope_fields
from cmi.looks import Looks
from cmi.serving.options import ServerOptions
from cmi.testing import serving
from tests.framework.calls import ASKED, Asked, Clock, begin, new_call
from tests.framework.rules_cases import (
    ERRORS,
    KEYS,
    SCOPE,
    SPEC,
    NotBegun,
    Throttled,
    leftover,
    vm,
)
from tests.framework.support import Disk, Keys, Scope, Spec, StandIn, ask, request
from tests.support import PATIENCE, await_condition

S = TypeVar("S", bound=Scope)


@dataclass
class Call:
    """A call of the cloud's API. The test decides when it ends.

    Attributes:
        name: What is requested, such as `list` or `get vm-1`.
        answered: Set when the call may end.
        trouble: The exception that it then raises, if it is supposed to fail.
        began: When the cloud got the call, in seconds. A busy machine may delay a call for any
            time, so two of these times may be closer to each other than the reads were.
        caller: The machine call that made this call.
    """

    name: str
    answered: threading.Event = field(default_factory=threading.Event)
    trouble: Exception | None = None
    began: float = field(default_factory=time.monotonic)
    caller: waiting.ThreadCall | None = field(default_factory=waiting.current_call.get)


@dataclass
class Cloud:
    """A cloud whose answers show its state at the beginning of the call.

    Attributes:
        vms: The VMs that exist.
        unlisted: The IDs of VMs that no list contains.
        leftovers: The resources that deleted VMs have left behind.
        calls: The calls so far, in the order in which they began.
        is_quick: Whether calls end at once.
    """

    vms: list[VM] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    leftovers: list[Leftover] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    is_quick: bool = False

    @property
    def asked(self) -> list[str]:
        """The names of the calls so far, in order."""
        return [call.name for call in [*self.calls]]

    def answer(self, name: str, found: list[Any]) -> list[Any]:
        call = Call(name)
        self.calls.append(call)
        if not self.is_quick:
            assert call.answered.wait(3 * PATIENCE), "the test has given up"
        if call.trouble:
            raise call.trouble
        return found

    def end(self, number: int, trouble: Exception | None = None) -> None:
        """Let a call end."""
        self.calls[number].trouble = trouble
        self.calls[number].answered.set()

    def be_quick(self) -> None:
        """Answer all calls at once from now on, including those that are waiting."""
        self.is_quick = True
        for number in range(len(self.calls)):
            self.calls[number].answered.set()


class CloudSession(Session[Scope, Spec, Keys, VM]):
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def list_vms(self, scope: Scope) -> Iterator[VM]:
        found = [each for each in self.cloud.vms if each.provider_id not in self.cloud.unlisted]
        yield from self.cloud.answer("list", found)

    def find_vms(self, scope: Scope, name: str) -> list[VM]:
        found = [each for each in self.cloud.vms if each.name == name]
        return self.cloud.answer(f"find {name}", found)

    def get_vm(self, scope: Scope, provider_id: str) -> VM | None:
        found = [each for each in self.cloud.vms if each.provider_id == provider_id]
        return next(iter(self.cloud.answer(f"get {provider_id}", found)), None)

    def list_leftovers(self, scope: Scope, name: str | None = None) -> list[Leftover]:
        return self.cloud.answer(f"leftovers of {name or 'all'}", [*self.cloud.leftovers])

    def create_vm(self, name: str, spec: Spec, secrets: Keys) -> VM:
        raise AssertionError

    def differences(self, vm: VM, spec: Spec) -> list[str]:
        raise AssertionError

    def stop_vm(self, vm: VM) -> None:
        raise AssertionError(f"{vm.provider_id} is to be stopped or deleted")

    delete_vm = stop_vm

    def delete_leftover(self, leftover: Leftover) -> None:
        raise AssertionError


class OtherSession(CloudSession):
    """A subclass that might find VMs in another way."""


class ListingSession(CloudSession):
    find_vms = Session.find_vms  # type: ignore[assignment]


class LoneSession(CloudSession):
    shares_lists = False


class GenericSession(Session[S, Spec, Keys, VM], Generic[S]):
    """A session with a type variable in place of its scope."""


@dataclass
class Server:
    """Runs each call in a thread, as a server does."""

    cloud: Cloud
    groups: dict[Any, Any] = field(default_factory=dict)
    calls: list[waiting.ThreadCall] = field(default_factory=list)

    def begin(
        self,
        act: Callable[[Looks[Scope, VM]], Any],
        asked: Asked = ASKED,
        session: type[CloudSession] = CloudSession,
    ) -> "Future[Any]":
        """Begin a call, and return a future with the result of `act`."""
        call = new_call(self.groups)
        self.calls.append(call)
        return begin(call, lambda: act(Looks(session(self.cloud), asked)))

    def await_waiting(self, count: int) -> None:
        """Wait until that many calls need an answer, including those that are reading."""

        def needing() -> int:
            groups = [*self.groups.values()]
            return sum(len(each.waiting) + (each.running is not None) for each in groups)

        await_condition(lambda: needing() == count)

    def await_asked(self, *calls: str) -> None:
        """Wait until the cloud has received exactly these calls."""
        await_condition(lambda: self.cloud.asked == [*calls])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that never considers a read to hang, so each result must reach those who wait."""
    monkeypatch.setattr(module, "IMPATIENCE", 2 * PATIENCE)
    monkeypatch.setattr(module, "PATIENCE", 2 * PATIENCE)
    monkeypatch.setattr(module, "GAP", 0)
    server = Server(Cloud())
    yield server
    server.cloud.be_quick()
    for call in server.calls:
        call.give_up()
    await_condition(lambda: not server.groups)  # nothing remains of calls that have ended


Act = Callable[[Looks[Scope, VM]], Any]


def named(name: str) -> Act:
    """Read the VMs of a machine."""
    return lambda looks: looks.named(name)


def by_id(provider_id: str) -> Act:
    """Read a VM."""
    return lambda looks: looks.vm(provider_id)


def paused(provider_id: str) -> Act:
    """Read a VM after a pause."""
    return lambda looks: looks.wait_for_vm("a look", provider_id, lambda now: (now,))[0]


def is_running(provider_id: str) -> Act:
    """Wait until a VM runs."""

    def has_state(now: VM | None) -> VM | None:
        return now if now and now.state is VMState.RUNNING else None

    return lambda looks: looks.wait_for_vm(f"{provider_id} to run", provider_id, has_state)


def leftovers(name: str) -> Act:
    """Read what a machine has left behind."""
    return lambda looks: looks.wait_for_leftovers("a look", name, lambda found: (found,))[0]


def result(outcome: "Future[Any]") -> Any:
    return outcome.result(PATIENCE)


def test_one_list_serves_all_who_wait(server: Server) -> None:
    server.cloud.vms = [vm(f"vm-{number}") for number in range(50)]
    outcomes = [server.begin(is_running("vm-0"))]
    server.await_asked("get vm-0")
    outcomes += [server.begin(is_running(f"vm-{number}")) for number in range(1, 50)]
    server.await_waiting(50)
    server.cloud.be_quick()
    assert [result(outcome) for outcome in outcomes] == server.cloud.vms
    assert server.cloud.asked == ["get vm-0", "list"]


def test_reads_at_the_same_time_share_a_list(server: Server) -> None:
    one, two, three = server.cloud.vms = [vm(f"vm-{each}", name=f"m{each}") for each in (1, 2, 3)]
    outcomes = [server.begin(named("m1"))]
    server.await_asked("find m1")
    outcomes += [server.begin(act) for act in (named("m2"), by_id("vm-3"), named("m4"))]
    server.await_waiting(4)
    server.cloud.be_quick()
    assert [result(outcome) for outcome in outcomes] == [[one], [two], three, []]
    assert server.cloud.asked == ["find m1", "list"]


def test_what_is_left_of_vms_is_read_together_too(server: Server) -> None:
    server.cloud.leftovers = [leftover()]
    outcomes = [server.begin(leftovers("m1"))]
    server.await_asked("leftovers of m1")
    outcomes += [server.begin(leftovers(name)) for name in ("m2", "m3")]
    server.await_waiting(3)
    server.cloud.be_quick()
    assert [result(outcome) for outcome in outcomes] == [[leftover()]] * 3
    assert server.cloud.asked == ["leftovers of m1", "leftovers of all"]


def test_a_call_that_is_alone_asks_for_its_own_vm(server: Server) -> None:
    server.cloud.vms = [vm()]
    server.cloud.be_quick()
    for act in (is_running("vm-1"), by_id("vm-1"), named("m1")):
        result(server.begin(act))
        await_condition(lambda: not server.groups)
    assert server.cloud.asked == ["get vm-1", "get vm-1", "find m1"]


@pytest.mark.parametrize("look", [by_id, paused])
def test_nobody_sees_a_look_that_began_before_they_asked(
    server: Server, look: Callable[[str], Act]
) -> None:
    """Otherwise, a call would miss the change that it has just made."""
    old, new = vm(state=VMState.CREATING), vm()
    server.cloud.vms = [old]
    begun = [server.begin(look("vm-1"))]
    server.await_asked("get vm-1")
    begun += [server.begin(look("vm-1")) for _ in range(2)]
    server.await_waiting(3)
    server.cloud.end(0)
    server.await_asked("get vm-1", "list")
    late = server.begin(look("vm-1"))
    server.await_waiting(3)
    server.cloud.vms = [new]
    server.cloud.be_quick()
    assert [result(outcome) for outcome in begun] == [old] * 3
    assert result(late) == new
    assert server.cloud.asked == ["get vm-1", "list", "get vm-1"]


@pytest.mark.parametrize("look", [by_id, paused])
def test_a_vm_that_a_list_lacks_is_asked_for(server: Server, look: Callable[[str], Act]) -> None:
    """A list may be outdated, so a VM that it does not contain may still exist."""
    server.cloud.vms, server.cloud.unlisted = [vm("vm-1"), vm("vm-2")], {"vm-2"}
    outcomes = [server.begin(look("vm-1"))]
    server.await_asked("get vm-1")
    outcomes += [server.begin(look(each)) for each in ("vm-1", "vm-2", "vm-3")]
    server.await_waiting(4)
    server.cloud.be_quick()
    assert [result(outcome) for outcome in outcomes] == [vm("vm-1"), vm("vm-1"), vm("vm-2"), None]
    assert server.cloud.asked[:2] == ["get vm-1", "list"]
    assert sorted(server.cloud.asked[2:]) == ["get vm-2", "get vm-3"]


@pytest.mark.parametrize("session", [CloudSession, ListingSession])
def test_a_machine_that_a_list_lacks_is_asked_for_before_it_counts_as_deleted(
    server: Server, session: type[CloudSession]
) -> None:
    """After a deletion, nobody looks again. Where `find_vms` lists too, it is no help."""

    def delete(_looks: Looks[Scope, VM]) -> Any:
        request = DeleteMachineRequest(machine_name="m2", provider_spec=SCOPE, secrets=KEYS)
        return rules.delete_machine(session(server.cloud), request)

    server.cloud.vms, server.cloud.unlisted = [vm("vm-1"), vm("vm-2", name="m2")], {"vm-2"}
    server.begin(by_id("vm-1"), session=session)
    server.await_asked("get vm-1")
    deletes = server.begin(delete)
    server.await_waiting(2)
    reads = server.begin(named("m2"), session=session)
    server.await_waiting(3)
    server.cloud.be_quick()
    assert result(reads) == []
    if session is CloudSession:
        with pytest.raises(AssertionError, match="vm-2 is to be stopped or deleted"):
            result(deletes)
    else:
        result(deletes)
    assert server.cloud.asked.count("list") == 1


def test_nobody_waits_while_another_call_asks_for_its_own_vm(server: Server) -> None:
    server.cloud.vms, server.cloud.unlisted = [vm("vm-1"), vm("vm-2")], {"vm-2"}
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    for count in (2, 3):
        server.begin(by_id("vm-2"))
        server.await_waiting(count)
    server.cloud.end(0)
    server.await_asked("get vm-1", "list")
    server.begin(by_id("vm-1"))
    server.await_waiting(3)
    server.cloud.end(1)
    await_condition(lambda: len(server.cloud.calls) == 5)
    assert sorted(server.cloud.asked[2:]) == ["get vm-1", "get vm-2", "get vm-2"]


def test_an_exception_goes_to_all_who_share_the_look(server: Server) -> None:
    first = server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    others = [server.begin(by_id("vm-1")) for _ in range(3)]
    server.await_waiting(4)
    server.cloud.end(0, KeyError("only for the first"))
    server.await_asked("get vm-1", "list")
    server.cloud.end(1, NotFound("no such project"))
    with pytest.raises(KeyError):
        result(first)
    for outcome in others:
        with pytest.raises(NotFound, match="no such project"):
            result(outcome)
    assert server.cloud.asked == ["get vm-1", "list"]


def test_a_call_that_is_given_up_waits_for_nobodys_look(server: Server) -> None:
    first = server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    second = server.begin(by_id("vm-2"))
    server.await_waiting(2)
    server.calls[1].give_up()
    with pytest.raises(DeadlineExceeded):
        result(second)
    server.cloud.be_quick()
    assert result(first) is None


def test_a_call_that_is_given_up_before_it_waits_does_not_wait(server: Server) -> None:
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")

    def give_up_and_look(looks: Looks[Scope, VM]) -> Any:
        server.calls[1].give_up()
        return looks.vm("vm-2")

    with pytest.raises(DeadlineExceeded):
        result(server.begin(give_up_and_look))


def test_the_look_of_a_call_that_is_given_up_fails_for_it_alone(server: Server) -> None:
    """With an async SDK, the read ends in this way, because its coroutine is cancelled."""
    server.cloud.vms = [vm()]
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    outcomes = [server.begin(by_id("vm-1")) for _ in range(3)]
    server.await_waiting(4)
    server.cloud.end(0)
    server.await_asked("get vm-1", "list")
    looker = server.cloud.calls[1].caller
    assert looker is not None
    looker.give_up()
    server.cloud.end(1, DeadlineExceeded("cancelled"))
    server.await_asked("get vm-1", "list", "list")
    server.cloud.be_quick()
    with pytest.raises(DeadlineExceeded):
        result(outcomes.pop(server.calls.index(looker) - 1))
    assert [result(outcome) for outcome in outcomes] == [vm()] * 2


@pytest.mark.parametrize(("name", "look"), [("IMPATIENCE", by_id), ("PATIENCE", paused)])
def test_a_look_that_hangs_holds_up_nobody_for_long(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, look: Callable[[str], Act]
) -> None:
    server.cloud.vms = [vm()]
    hanging = server.begin(look("vm-1"))
    server.await_asked("get vm-1")
    monkeypatch.setattr(module, name, 0)
    others = [server.begin(look("vm-1")) for _ in range(2)]
    server.cloud.is_quick = True  # for calls that have not reached the cloud yet
    await_condition(lambda: len(server.cloud.asked) > 1)
    for call in server.cloud.calls[1:]:
        call.answered.set()
    assert [result(outcome) for outcome in others] == [vm()] * 2
    assert not hanging.done()


def test_a_call_that_has_its_result_begins_no_look(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may get the result just before it finds that nobody looks and that it is its turn. A look
    that it began then would never end, so the others would consider it hung."""
    begin, begins = module._Group._begin, threading.Event()

    def begin_late(group: Any, waiter: Any) -> Any:
        if waiting.current_call.get() in server.calls[2:3]:
            begins.wait(PATIENCE)
        return begin(group, waiter)

    monkeypatch.setattr(module._Group, "_begin", begin_late)
    server.cloud.vms, server.cloud.unlisted = [vm("vm-1"), vm("vm-2")], {"vm-2"}
    first = server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    unlisted = server.begin(by_id("vm-2"))
    server.await_waiting(2)
    late = server.begin(by_id("vm-1"))
    server.await_waiting(3)
    server.cloud.end(0)
    server.await_asked("get vm-1", "list")
    server.cloud.end(1)
    server.await_asked("get vm-1", "list", "get vm-2")
    begins.set()
    assert result(late) == vm("vm-1")
    next_one = server.begin(by_id("vm-1"))
    server.await_asked("get vm-1", "list", "get vm-2", "get vm-1")
    server.cloud.be_quick()
    assert [result(each) for each in (first, unlisted, next_one)] == [
        vm("vm-1"),
        vm("vm-2"),
        vm("vm-1"),
    ]


def test_a_call_whose_own_look_hangs_keeps_nobody_asleep(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a look, a call is woken that can look next."""
    server.cloud.vms = [vm()]
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    with monkeypatch.context() as patch:
        patch.setattr(module, "IMPATIENCE", 0)
        server.begin(by_id("vm-1"))
        await_condition(lambda: len(server.cloud.calls) == 2)
    sleeping = server.begin(by_id("vm-1"))
    server.await_waiting(2)
    server.calls[1].give_up()
    server.cloud.end(1, DeadlineExceeded("cancelled"))
    await_condition(lambda: len(server.cloud.calls) == 3)
    server.cloud.end(2)
    assert result(sleeping) == vm()


def test_an_urgent_call_does_not_wait_for_one_that_backs_off(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was throttled makes a pause, and waits longer for its group."""
    monkeypatch.setattr(module, "GAP", 2 * PATIENCE)
    monkeypatch.setattr(module, "LONGEST_GAP", 2 * PATIENCE)
    monkeypatch.setattr(waiting, "FIRST_THROTTLED", 0.001)
    server.cloud.vms = [vm()]
    backs_off = server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    server.cloud.end(0, NotBegun("slow down"))
    await_condition(lambda: server.calls[0].trouble == "slow down")
    server.await_waiting(1)
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1", "list")
    urgent = server.begin(by_id("vm-1"))
    server.await_waiting(3)
    server.calls[1].give_up()
    server.cloud.end(1, DeadlineExceeded("cancelled"))
    server.await_asked("get vm-1", "list", "list")
    server.cloud.be_quick()
    assert [result(each) for each in (backs_off, urgent)] == [vm()] * 2


@dataclass(frozen=True)
class Apart:
    """A call that differs from others, and may or may not share reads with them."""

    asked: Asked = ASKED
    session: type[CloudSession] = CloudSession


OTHER_REGION = SCOPE.model_copy(update={"region": "south"})
OTHER_CLUSTER = SCOPE.model_copy(
    update={"tags": {"kubernetes.io/cluster/two": "1", "kubernetes.io/role/node": "1"}}
)
OTHER_TOKEN = Keys.model_validate({"apiToken": b"another"})
APART = {
    "region": Apart(Asked(OTHER_REGION)),
    "cluster": Apart(Asked(OTHER_CLUSTER)),
    "token": Apart(Asked(secrets=OTHER_TOKEN)),
    "session": Apart(session=OtherSession),
    "a-session-that-shares-nothing": Apart(session=LoneSession),
}
SHARING = {
    "user-data": Apart(Asked(secrets=KEYS.model_copy(update={"user_data": SecretStr("m2")}))),
    "spec": Apart(Asked(SPEC.model_copy(update={"disks": ()}))),
}


@pytest.mark.parametrize("apart", list(APART.values()), ids=list(APART))
def test_calls_that_may_see_something_else_are_apart(server: Server, apart: Apart) -> None:
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    server.begin(by_id("vm-2"), apart.asked, apart.session)
    server.await_asked("get vm-1", "get vm-2")
    server.begin(by_id("vm-3"), apart.asked, LoneSession)
    server.await_asked("get vm-1", "get vm-2", "get vm-3")


@pytest.mark.parametrize("sharing", list(SHARING.values()), ids=list(SHARING))
def test_what_differs_from_machine_to_machine_does_not_part_calls(
    server: Server, sharing: Apart
) -> None:
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    server.begin(by_id("vm-2"), sharing.asked)
    server.await_waiting(2)
    assert server.cloud.asked == ["get vm-1"]
    assert len(server.groups) == 1


def test_a_call_that_changes_its_spec_stays_in_its_group(server: Server) -> None:
    """Otherwise, it could not leave it. The fixture awaits that no group remains."""
    scope = SCOPE.model_copy(deep=True)

    def change(looks: Looks[Scope, VM]) -> Any:
        return looks.wait_for_vm("a look", "vm-1", lambda _: scope.tags.setdefault("more", "1"))

    first = server.begin(paused("vm-1"))
    server.await_asked("get vm-1")
    changing = server.begin(change, Asked(scope))
    server.await_waiting(2)
    server.cloud.end(0)
    assert result(first) is None
    server.await_asked("get vm-1", "get vm-1")
    server.cloud.end(1)
    assert result(changing) == "1"


def test_what_a_group_is_known_by_shows_no_secret(server: Server) -> None:
    server.begin(by_id("vm-1"))
    server.await_asked("get vm-1")
    assert "token" not in repr(server.groups)


def test_where_the_scope_is_not_known_specs_have_to_be_equal() -> None:
    class Inner(GenericSession[Scope]):
        """Its base class has a type variable in place of the scope."""

    other = SPEC.model_copy(update={"disks": (Disk(sizeGiB=1),)})
    assert scope_fields(CloudSession, SPEC) == scope_fields(CloudSession, other)
    assert scope_fields(CloudSession, SPEC) == scope_fields(CloudSession, SCOPE)
    assert scope_fields(OtherSession, SPEC) == scope_fields(OtherSession, other)
    assert scope_fields(Inner, SPEC) != scope_fields(Inner, other)


def test_calls_that_wait_leave_the_cloud_alone_between_two_looks(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gap between two reads is needed because a call that has just begun to wait pauses only
    briefly."""
    monkeypatch.setattr(module, "GAP", 0.05)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.001)
    server.cloud.vms = [vm(state=VMState.CREATING)]
    server.cloud.be_quick()
    start = time.monotonic()
    outcomes = [server.begin(is_running("vm-1")) for _ in range(5)]
    await_condition(lambda: server.cloud.asked.count("list") > 5)
    server.cloud.vms = [vm()]
    assert [result(outcome) for outcome in outcomes] == [vm()] * 5
    began = [call.began for call in server.cloud.calls if call.name == "list"]
    assert began[-1] - start >= 0.05 * (len(began) - 1)


def test_a_group_backs_off_while_the_cloud_throttles(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GAP", 0.01)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.001)
    server.cloud.vms = [vm()]
    start = time.monotonic()
    outcomes = [server.begin(is_running("vm-1"))]
    server.await_asked("get vm-1")
    outcomes.append(server.begin(is_running("vm-1")))
    groups = [*server.groups.values()]
    for number in range(5):
        await_condition(lambda number=number: len(server.cloud.calls) == number + 1)  # type: ignore[misc]
        server.cloud.end(number, Throttled("slow down"))
    server.cloud.be_quick()
    assert [result(outcome) for outcome in outcomes] == [vm()] * 2
    assert server.cloud.calls[5].began - start >= 0.01 * (2 + 4 + 8 + 16 + 32)
    (group,) = groups
    assert group.failures == 0, "the pauses must be short again once the cloud answers"


def test_a_group_may_fail_any_number_of_times(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GAP", 0.001)
    monkeypatch.setattr(module, "LONGEST_GAP", 0.001)
    server.cloud.vms = [vm()]
    outcome = server.begin(is_running("vm-1"))
    server.await_asked("get vm-1")
    (group,) = server.groups.values()
    group.failures = 2000
    server.cloud.end(0, Throttled("slow down"))
    server.await_asked("get vm-1", "get vm-1")
    server.cloud.end(1)
    assert result(outcome) == vm()


def test_a_list_that_takes_long_is_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, several copies of it would be on their way all the time."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    group = module._Group()
    urgent, patient = (module._Waiter(clock.now, is_urgent=each) for each in (True, False))

    def begin(*waiters: module._Waiter) -> None:
        group.waiting = [*waiters]
        assert group._begin(waiters[0]) is not None
        group.waiting = [urgent, patient]

    def seconds_left() -> tuple[float, float]:
        return group._seconds_left(urgent), group._seconds_left(patient)

    begin(urgent, patient)
    assert seconds_left() == (1, 10)
    clock.now += 3
    begin(urgent, patient)
    assert seconds_left() == (6, 10), "the first one took three seconds or more"
    clock.now += 4
    group._end()
    assert seconds_left() == (-7, 4), "the cloud rests for as long as the list took"
    begin(urgent, patient)
    assert seconds_left() == (8, 10)
    clock.now += 7
    group._end()
    begin(urgent, patient)
    assert seconds_left() == (10, 10), "whatever the list takes"


def test_a_read_does_not_wait_for_a_gap(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only calls that wait for a change anyway keep to the gap between two reads."""
    monkeypatch.setattr(module, "GAP", 2 * PATIENCE)
    outcomes = [server.begin(named("m1"))]
    server.await_asked("find m1")
    outcomes += [server.begin(named(name)) for name in ("m2", "m3")]
    server.await_waiting(3)
    server.cloud.be_quick()
    assert [result(outcome) for outcome in outcomes] == [[], [], []]


def test_the_caller_gets_the_trouble_that_did_not_pass() -> None:
    """A DEADLINE_EXCEEDED alone would not say that the cloud throttled all the time."""
    cloud = Cloud(is_quick=True)

    def throttled(name: str, found: list[Any]) -> list[Any]:
        cloud.calls.append(Call(name))
        raise Throttled("slow down")

    cloud.answer = throttled  # type: ignore[method-assign]

    def create(received: Any) -> CreateMachineResponse:
        is_running("vm-1")(Looks(CloudSession(cloud), received))
        raise AssertionError

    def is_reported() -> bool:
        answer = ask(endpoint, "CreateMachine", request("CreateMachine"))
        assert answer.code in {"UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED"}, answer
        return answer.code == "UNAVAILABLE" and answer.message == (
            "slow down (the call did not end within 0.2 s while it waited for vm-1 to run)"
        )

    class Throttling(StandIn):
        errors = ERRORS

    options = ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), call_timeout=0.2)
    with serving(Throttling(create), options) as endpoint:
        await_condition(is_reported)  # on a busy machine, time may run out before it waits


def test_outside_of_a_server_trouble_ends_a_wait() -> None:
    """Without a server, there is neither a table of errors nor a deadline."""
    cloud = Cloud(is_quick=True)
    cloud.vms = [vm()]
    looks = Looks(CloudSession(cloud), Asked())
    assert paused("vm-1")(looks) == vm()

    def throttled(name: str, found: list[Any]) -> list[Any]:
        raise Throttled

    cloud.answer = throttled  # type: ignore[method-assign]
    with pytest.raises(Throttled):
        paused("vm-1")(looks)
