"""Calls whose requests the cloud throttles take turns."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from pydantic import SecretStr

from cmi import DeadlineExceeded, waiting
from cmi import turns as module
from cmi.groups import lock
from cmi.turns import Turns
from tests.framework.calls import ASKED, Asked, Clock, begin, new_call
from tests.framework.rules_cases import KEYS, FakeSession, NotBegun, Throttled
from tests.support import PATIENCE, await_condition

OTHERS = Asked(secrets=KEYS.model_copy(update={"api_token": SecretStr("another")}))


@dataclass(eq=False)
class Request:
    """A request to the cloud. The test decides when it ends, and how."""

    name: str
    outcome: "Future[str]" = field(default_factory=Future)


@dataclass
class Server:
    """What calls of one server have in common.

    Attributes:
        requests: The requests to the cloud so far, in order.
        calls: The calls so far.
        groups: The groups of the calls.
    """

    requests: list[Request] = field(default_factory=list)
    calls: list[waiting.ThreadCall] = field(default_factory=list)
    groups: dict[Any, Any] = field(default_factory=dict)

    def begin(
        self,
        name: str,
        action: str = "create",
        asked: Asked = ASKED,
        find: Callable[[], str | None] = lambda: None,
    ) -> "Future[str]":
        """Begin a call that sends one request; return a future with its result."""
        call = new_call(self.groups)
        self.calls.append(call)

        def act() -> str:
            request = Request(name)
            self.requests.append(request)
            return request.outcome.result(3 * PATIENCE)

        def take() -> str:
            return Turns(FakeSession(), asked).take(
                action, f"the cloud to {action}", act, find=find
            )

        return begin(call, take)

    def begin_throttled(self) -> "Future[str]":
        """Begin the first call, `a`. Once the cloud has throttled it, it waits for its turn."""
        result = self.begin("a")
        self.await_requests("a")
        self.throttle(0)
        self.await_waiting(1)
        return result

    def await_requests(self, *names: str) -> None:
        """Wait until the cloud has received exactly these requests."""
        await_condition(lambda: [each.name for each in [*self.requests]] == [*names])

    def await_waiting(self, count: int) -> None:
        """Wait until that many calls wait for their turn."""
        groups = self.groups
        await_condition(lambda: sum(len(each._waiting) for each in [*groups.values()]) == count)

    def let_one_go(self) -> None:
        """Let the call that is next send its request now."""
        (queue,) = self.groups.values()
        with lock:
            queue._earliest = time.monotonic()
            queue._waiting[0].set()

    def throttle(self, number: int) -> None:
        self.requests[number].outcome.set_exception(NotBegun("slow down"))

    def accept(self, number: int) -> None:
        self.requests[number].outcome.set_result(self.requests[number].name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose calls have their turns at once, even while the cloud throttles."""
    monkeypatch.setattr(module, "FIRST_INTERVAL", 1e-6)
    monkeypatch.setattr(module, "LONGEST_INTERVAL", 1e-6)
    server = Server()
    yield server
    for call in server.calls:
        call.give_up()
    for request in server.requests:
        if not request.outcome.done():
            request.outcome.set_result(request.name)
    await_condition(lambda: not server.groups)  # nothing remains of calls that have ended


@pytest.fixture
def slow(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server in which nobody's turn comes during the test, once the cloud has throttled."""
    monkeypatch.setattr(module, "FIRST_INTERVAL", 3 * PATIENCE)
    monkeypatch.setattr(module, "LONGEST_INTERVAL", 3 * PATIENCE)
    return server


def result(outcome: "Future[str]") -> str:
    return outcome.result(PATIENCE)


def test_nobody_waits_until_the_cloud_throttles(slow: Server) -> None:
    outcomes = []
    for number in range(20):
        outcomes.append(slow.begin(f"{number}"))
        slow.await_requests(*[f"{each}" for each in range(number + 1)])
    for number in range(20):
        slow.accept(number)
    assert [result(each) for each in outcomes] == [f"{number}" for number in range(20)]


def test_a_request_that_was_throttled_is_sent_again(server: Server) -> None:
    outcome = server.begin("a")
    for number in range(3):
        server.await_requests(*["a"] * (number + 1))
        server.throttle(number)
    server.await_requests(*["a"] * 4)
    server.accept(3)
    assert result(outcome) == "a"
    assert server.calls[0].trouble == "", "the cloud has answered"
    assert server.calls[0].waiting_for == ""


def test_once_the_cloud_throttles_new_calls_wait_too(slow: Server) -> None:
    slow.begin_throttled()
    slow.begin("b")
    slow.await_waiting(2)
    await_condition(lambda: slow.calls[1].waiting_for == "the cloud to create")
    await_condition(lambda: slow.calls[1].trouble == "slow down")  # if its time runs out
    slow.await_requests("a")


def test_the_call_that_waits_longest_is_next(slow: Server) -> None:
    slow.begin_throttled()
    for number, name in enumerate("bcd"):
        slow.await_waiting(1 + number)
        slow.begin(name)
    slow.await_waiting(4)
    for count in range(4):
        slow.let_one_go()
        slow.await_requests(*"aabcd"[: 2 + count])


def test_a_call_that_is_given_up_lets_the_next_one_go(slow: Server) -> None:
    """A new call does not overtake it."""
    slow.begin_throttled()
    slow.begin("b")
    slow.await_waiting(2)
    (queue,) = slow.groups.values()
    queue._earliest = time.monotonic()  # this wakes nobody
    slow.begin("c")
    slow.await_waiting(3)
    slow.calls[0].give_up()
    slow.await_requests("a", "b")


def test_a_request_that_hangs_takes_nobodys_turn(server: Server) -> None:
    server.begin("a")
    server.await_requests("a")
    server.throttle(0)
    server.await_requests("a", "a")
    other = server.begin("b")
    server.await_requests("a", "a", "b")
    server.accept(2)
    assert result(other) == "b"


@pytest.mark.parametrize(
    ("action", "asked"), [("delete", ASKED), ("create", OTHERS)], ids=["action", "account"]
)
def test_only_calls_that_share_a_limit_take_turns(slow: Server, action: str, asked: Asked) -> None:
    slow.begin_throttled()
    other = slow.begin("b", action, asked)
    slow.await_requests("a", "b")
    slow.accept(1)
    assert result(other) == "b"


def test_a_call_that_is_given_up_leaves_the_queue(slow: Server) -> None:
    outcome = slow.begin_throttled()
    slow.calls[0].give_up()
    with pytest.raises(DeadlineExceeded, match="the cloud to create"):
        result(outcome)
    assert slow.calls[0].trouble == "slow down"
    await_condition(lambda: not slow.groups)


def test_another_error_ends_the_call(server: Server) -> None:
    outcome = server.begin("a")
    server.await_requests("a")
    server.requests[0].outcome.set_exception(OSError("reset"))
    with pytest.raises(OSError, match="reset"):
        result(outcome)
    server.await_requests("a")


def test_a_call_that_was_given_up_sends_nothing_more(server: Server) -> None:
    def find() -> None:
        server.calls[0].give_up()

    outcome = server.begin("a", find=find)
    server.await_requests("a")
    server.throttle(0)
    with pytest.raises(DeadlineExceeded):
        result(outcome)
    server.await_requests("a")


def test_what_an_earlier_attempt_made_is_found(server: Server) -> None:
    outcome = server.begin("a", find=lambda: "found")
    server.await_requests("a")
    server.throttle(0)
    assert result(outcome) == "found"
    server.await_requests("a")


class SleepingClock(Clock):
    """A clock that a sleep advances.

    Attributes:
        sleeps: The seconds of each sleep.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []

    def sleep_until(self, _: threading.Event, seconds: float | None) -> None:
        assert seconds is not None
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def in_call() -> Iterator[None]:
    """Let the test be a call, in which the meaning of exceptions is known."""
    token = waiting.current_call.set(new_call({}))
    yield
    waiting.current_call.reset(token)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleepingClock:
    clock = SleepingClock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "sleep_until", clock.sleep_until)
    return clock


def await_turn(queue: module._Queue, clock: SleepingClock) -> float:
    """Wait for a turn; return the time."""
    queue.await_turn("turn")
    return clock.now


def test_the_interval_grows_up_to_two_seconds_and_shrinks_to_nothing(clock: SleepingClock) -> None:
    queue = module._Queue()
    grown, shrunk = [], []
    for _ in range(8):
        queue.slow_down(await_turn(queue, clock))
        grown.append(queue.interval)
    assert grown == pytest.approx([0.25, 0.375, 0.5625, 0.84375, 1.265625, 1.8984375, 2, 2])
    while queue.interval:
        shrunk.append(queue.interval)
        queue.speed_up(clock.now)
    assert shrunk[:3] == pytest.approx([2, 1.8, 1.62])
    assert 0.02 <= shrunk[-1] < 0.0225


def test_the_interval_is_forgotten_when_it_is_old(clock: SleepingClock) -> None:
    queue = module._Queue()
    for _ in range(8):
        queue.slow_down(await_turn(queue, clock))
    clock.now += 13
    clock.sleeps.clear()
    for _ in range(5):
        await_turn(queue, clock)
    assert clock.sleeps == []


def test_turns_are_an_interval_apart(clock: SleepingClock) -> None:
    queue = module._Queue()
    queue.slow_down(await_turn(queue, clock))
    assert await_turn(queue, clock) - 1000 == pytest.approx(0.25)
    for _ in range(20):
        before = clock.now
        assert 0.75 * 0.25 <= await_turn(queue, clock) - before <= 1.25 * 0.25
    assert len({*clock.sleeps}) > 10, "at random, since other drivers may share the limit"


def test_requests_that_were_under_way_together_count_once(clock: SleepingClock) -> None:
    queue = module._Queue()
    began = [await_turn(queue, clock) for _ in range(50)]
    for each in began[:20]:
        clock.now += 0.01
        queue.slow_down(each)
    for each in began[20:]:
        clock.now += 0.01
        queue.speed_up(each)
    assert queue.interval == 0.25
    clock.sleeps.clear()
    await_turn(queue, clock)
    assert clock.sleeps == [], "the interval began when the cloud throttled the first of them"


@pytest.mark.parametrize(
    ("error", "interval"), [(ValueError(), 0.225), (Throttled(), 0.25)], ids=["quota", "outage"]
)
def test_an_answer_shortens_the_interval_even_if_it_is_an_error(
    clock: SleepingClock, in_call: None, error: Exception, interval: float
) -> None:
    queue = module._Queue()
    queue.slow_down(await_turn(queue, clock))

    def act() -> None:
        raise error

    with pytest.raises(type(error)):
        queue.send(act)
    assert queue.interval == interval


def test_calls_that_arrive_at_the_same_time_do_not_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sleep_until(*_: object) -> None:
        raise AssertionError("nothing is throttled")

    monkeypatch.setattr(module, "sleep_until", sleep_until)
    queue = module._Queue()
    with ThreadPoolExecutor(50) as threads:
        for _ in threads.map(lambda _: queue.await_turn("turn"), range(2000)):
            pass


@dataclass
class Budget:
    """What a cloud allows: a token bucket, as EC2 has for RunInstances."""

    clock: SleepingClock
    size: float = 5
    refill: float = 2
    throttled: int = 0
    _since: float = 1000.0

    def take(self) -> bool:
        """Return whether the cloud accepts a request now."""
        now = self.clock.now
        self.size = min(5, self.size + self.refill * (now - self._since))
        self._since = now
        if self.size < 1:
            self.throttled += 1
            return False
        self.size -= 1
        return True


def test_a_cloud_that_allows_two_requests_a_second_gets_little_more(
    clock: SleepingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty requests, of which five succeed at once, need 22.5 seconds at least."""
    monkeypatch.setattr(module, "random", Random(1))
    queue, budget = module._Queue(), Budget(clock)
    left = 50
    while left:
        began = await_turn(queue, clock)
        if budget.take():
            left -= 1
            queue.speed_up(began)
        else:
            queue.slow_down(began)
    assert 22.4 < clock.now - 1000 < 24
    assert budget.throttled < 20
