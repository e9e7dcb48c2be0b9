"""One command against a system that flaps, by processes that die anywhere: what it is answered, and what was done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, ClassVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from aios.dlq.one_record import Lost
from aios.processors.connectors import calling, claims
from aios.processors.connectors.calling import Calling
from aios.processors.connectors.circuit import Change, State
from aios.processors.connectors.connector import Ask, CallFailed, Effect, Failure, Operation, Part, failure_of
from aios.processors.connectors.gate import Gate
from aios.processors.connectors.guard import Guard
from aios.processors.connectors.intents import Intent, Mark
from aios.processors.connectors.opened import Opened
from aios.schemas import ids
from aios.schemas.models import ConnectorCompleted, ConnectorRequested
from aios.streams import failpoints
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.system_files import Again, Circuit, Goal, Limits, System
from tests.fakes import virtual_time
from tests.fakes.calls import requested

SYSTEM = System(
    system="bank",
    does="books",
    connector="bank",
    limits=Limits(calls_max=2, rate_per_s=100, call_s_max=1.0),
    again=Again(first_s=0.1, longest_s=2.0, unsure_s=1.0),
    circuit=Circuit(failures_max=3, open_s=0.5, open_s_max=4.0),
    objective=Goal(p95_ms=1000),
)
EFFECTS = (Effect.AT_LEAST_ONCE, Effect.AT_MOST_ONCE, Effect.RECONCILED)
HOUR_S = 3600.0


class Killed(BaseException):
    """As SIGKILL: nobody catches it."""


class Book(Part):
    amount: int


class Booked(BaseModel):
    booking: int


@dataclass
class Bank:
    """The outside system: every booking that reaches it is one more. says: what the next calls and questions meet."""

    says: list[str]
    done_says: list[str] = field(default_factory=list)
    effects: int = 0
    kill: Callable[[str], None] = lambda _where: None
    operations: ClassVar = {
        "book": Operation(request=Book, response=Booked, response_contract="booked.v1", effects=frozenset(EFFECTS)),
        "look": Operation(request=Book, response=Booked, response_contract="booked.v1"),
    }

    async def get(self, s_max: float) -> Bank:
        return self

    async def call(self, operation: str, request: Book, ask: Ask) -> Booked:
        self.kill("calling")
        await self._meets(self.says.pop(0) if self.says else "ok")
        self.kill("called")
        return Booked(booking=self.effects)

    async def done(self, operation: str, request: Book, ask: Ask) -> Booked | None:
        match self.done_says.pop(0) if self.done_says else "ok":
            case "away":
                raise ConnectionRefusedError
            case "hang":
                await asyncio.sleep(HOUR_S)
        return Booked(booking=self.effects) if self.effects else None

    async def _meets(self, what: str) -> None:
        match what:
            case "away":
                raise ConnectionRefusedError
            case "busy":
                raise CallFailed(Failure.TRANSIENT, "busy", "come again", again_after_s=3.0)
            case "reset":
                raise ConnectionResetError
            case "hang":
                await asyncio.sleep(HOUR_S)
            case "declined":
                raise CallFailed(Failure.REFUSED, "declined", "the account is closed")
            case "slow":
                await asyncio.sleep(0.9)
            case "late":  # it works on, longer than anybody waits for its answer
                asyncio.get_running_loop().call_later(
                    SYSTEM.limits.call_s_max + SYSTEM.again.unsure_s * 0.95, self._late
                )
                await asyncio.sleep(HOUR_S)
        self.effects += 1
        self.kill("done")
        match what:
            case "lost":
                raise ConnectionResetError
            case "half":
                raise CallFailed(Failure.TRANSIENT, "busy", "the old one is still there", was_done=True)
            case "hang_done":
                await asyncio.sleep(HOUR_S)

    def _late(self) -> None:
        self.effects += 1

    def classify(self, error: Exception) -> Failure:
        return failure_of(error)


@dataclass
class Log:
    """connector.intended.v1, as every process reads it."""

    intents: list[Intent] = field(default_factory=list)
    whose: dict[int, str] = field(default_factory=dict)  # request, by offset; those without are everybody's
    away: list[bool] = field(default_factory=list)  # of the next writes: True: Kafka does not say that it has it

    forgotten: bool = False  # what stood there when the command was asked is not kept any more

    async def known(self, partition: int, asked_ms: int) -> bool:
        return not self.forgotten

    async def reached(self, partition: int, offset: int) -> bool:
        return True

    def of(self, partition: int, request_id: str) -> Sequence[Intent]:
        return [one for one in self.intents if self.whose.get(one.offset, request_id) == request_id]

    def age_ms(self, intent: Intent) -> int:
        return round(virtual_time.now() * 1000) - intent.at_ms

    async def intend(self, record: Record, command: ConnectorRequested, mark: Mark) -> int:
        offset = len(self.intents)
        self.whose[offset] = command.request_id
        self.intents.append(Intent(offset, round(virtual_time.now() * 1000), mark))
        await asyncio.sleep(0.003)
        if self.away and self.away.pop(0):
            raise Unavailable("as the test says")
        return offset


class Free:
    """A guard that never waits."""

    @contextlib.asynccontextmanager
    async def of(self, record: Record) -> AsyncIterator[None]:
        yield


@dataclass
class Life:
    """One process: its gate and circuit, on the world's bank and log."""

    bank: Bank
    log: Log
    changes: list[State] = field(default_factory=list)
    is_ours: bool = True

    def __post_init__(self) -> None:
        self.gate = Gate(SYSTEM, self._changed, clock=virtual_time.now)
        self.calling = Calling(
            SYSTEM,
            lambda: self.bank.operations,
            cast(Opened, self.bank),
            self.gate,
            intents=self.log,
            intend=self.log.intend,
            guard=cast(Guard, Free()),
            random=Random(1),
            clock=virtual_time.now,
        )

    def _changed(self, change: Change, word: str) -> None:
        self.changes.append(change.state)

    async def answer(self, asked: ConnectorRequested) -> ConnectorCompleted:
        record = Record("connector.bank.requested.v1", 0, 0, calling.wall_ms(), b"c", b"")
        return await self.calling.answer(record, asked, lambda: self.is_ours)


def command(effect: Effect, *, deadline_s: float = HOUR_S, **changed: Any) -> ConnectorRequested:
    operation = "look" if effect is Effect.NONE else "book"
    asked = requested({"amount": 5}, at=calling.wall_ms(), operation=operation, effect=effect, deadline_s=deadline_s)
    return replace(asked, **changed)


@pytest.fixture(autouse=True)
def _virtual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (calling, claims):
        monkeypatch.setattr(module, "wall_ms", lambda: round(virtual_time.now() * 1000))
    yield
    failpoints.arm("")


FLAPS = st.lists(
    st.sampled_from(["ok", "away", "busy", "reset", "lost", "hang", "hang_done", "slow", "late"]), max_size=8
)
DONE = st.lists(st.sampled_from(["ok", "away", "hang"]), max_size=4)
BOUNDARIES = ("intended", "calling", "done", "called", "computed")


@settings(max_examples=150, deadline=None)
@given(
    effect=st.sampled_from([Effect.NONE, *EFFECTS]),
    says=FLAPS,
    done_says=DONE,
    kills=st.lists(st.tuples(st.sampled_from(BOUNDARIES), st.integers(1, 3)), max_size=4),
    away=st.lists(st.booleans(), max_size=3),
)
def test_whatever_flaps_and_whoever_dies_the_effect_is_as_it_was_asked(
    effect: Effect, says: list[str], done_says: list[str], kills: list[tuple[str, int]], away: list[bool]
) -> None:
    """reconciled: once; at most once: once or not at all, and it says so; the others are done in the end.

    Nothing fails for good: a system that comes back before the deadline bothers nobody.
    """
    answer, bank, lives = virtual_time.run(_lives(effect, list(says), list(done_says), list(kills), list(away)))
    booked = bank.effects
    match effect:
        case Effect.RECONCILED:
            assert (answer.status, booked) == ("ok", 1)
        case Effect.AT_MOST_ONCE:
            assert booked <= 1
            assert answer.status in ("ok", "unknown")
            assert booked == 1 or answer.status != "ok"
        case _:
            assert answer.status == "ok"
            assert booked >= 1
    if lives == 1 and effect is Effect.AT_MOST_ONCE and not {"reset", "lost", "hang", "hang_done", "late"} & set(says):
        assert answer.status == "ok"


async def _lives(
    effect: Effect, says: list[str], done_says: list[str], kills: list[tuple[str, int]], away: list[bool]
) -> tuple[ConnectorCompleted, Bank, int]:
    """One process after the other, each until it dies; the last one lives."""
    bank, log, lives = Bank(says, done_says), Log(away=away), 0
    asked = command(effect)
    while True:
        lives += 1
        visits: dict[str, int] = {}
        armed = kills.pop(0) if kills else None

        def visit(where: str, armed: tuple[str, int] | None = armed, visits: dict[str, int] = visits) -> None:
            visits[where] = visits.get(where, 0) + 1
            if armed == (where, visits[where]):
                raise Killed

        bank.kill = visit
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(failpoints, "hit", lambda name, payload=b"": visit(name.removeprefix("connectors.")))
            try:
                return await Life(bank, log).answer(asked), bank, lives
            except Killed:
                await asyncio.sleep(0.05)  # until it is started again


@settings(max_examples=80, deadline=None)
@given(
    effect=st.sampled_from([Effect.AT_MOST_ONCE, Effect.RECONCILED]),
    says=st.lists(st.sampled_from(["ok", "slow", "hang", "late", "away"]), max_size=4),
    after_s=st.floats(0.0, 3.0),
)
def test_a_former_owner_that_does_not_know_it_yet_does_nothing_a_second_time(
    effect: Effect, says: list[str], after_s: float
) -> None:
    """A partition moves while its command is under way: the log says who was first."""

    async def work() -> tuple[list[str], int]:
        bank, log = Bank(list(says)), Log()
        former, later = Life(bank, log), Life(bank, log)
        asked = command(effect)
        first = asyncio.create_task(former.answer(asked))
        await asyncio.sleep(after_s)
        second = asyncio.create_task(later.answer(asked))
        await asyncio.sleep(0.5)
        former.is_ours = False
        ends = await asyncio.gather(first, second, return_exceptions=True)
        return [end.status if isinstance(end, ConnectorCompleted) else type(end).__name__ for end in ends], bank.effects

    ends, booked = virtual_time.run(work())
    assert set(ends) <= {"ok", "unknown", Lost.__name__}
    assert booked <= 1
    if effect is Effect.RECONCILED:
        assert (ends[1], booked) == ("ok", 1)


@pytest.mark.parametrize(("says", "status"), [("half", "unknown"), ("busy", "expired")])
def test_what_was_done_and_cannot_come_to_its_end_is_not_told_as_expired(says: str, status: str) -> None:
    """Each try heals nothing until the deadline; what stands by then is not told as if nothing had been tried."""

    async def work() -> str:
        asked = command(Effect.AT_LEAST_ONCE, deadline_s=5.0)
        return (await Life(Bank([says] * 1_000), Log()).answer(asked)).status

    assert virtual_time.run(work()) == status


@pytest.mark.parametrize("effect", [Effect.AT_MOST_ONCE, Effect.RECONCILED])
def test_two_intents_of_one_millisecond_are_not_taken_for_each_other(effect: Effect) -> None:
    """A tier returns a record twice, and both are in hand at once: neither has been tried when they look."""

    class Slow(Log):
        async def intend(self, record: Record, command: ConnectorRequested, mark: Mark) -> int:
            await asyncio.sleep(0.002)
            return await super().intend(record, command, mark)

    async def work() -> int:
        bank, log = Bank([]), Slow()
        asked = command(effect, deadline_s=60.0)
        await asyncio.gather(*(Life(bank, log).answer(asked) for _ in range(2)))
        return bank.effects

    assert virtual_time.run(work()) <= 1


def test_an_open_circuit_parks_its_commands_and_they_go_on_by_themselves() -> None:
    """Fifty commands, a system away for a minute: three tries open the circuit, then probes alone try; all are done."""

    async def work() -> tuple[list[ConnectorCompleted], list[State], int]:
        bank = Bank(says=[])
        life = Life(bank, Log())
        asked = [command(Effect.NONE, request_id=f"r{number}") for number in range(50)]
        is_back = virtual_time.now() + 60.0
        calls = 0

        async def meets(what: str) -> None:
            nonlocal calls
            calls += 1
            if virtual_time.now() < is_back:
                raise ConnectionRefusedError
            bank.effects += 1

        bank._meets = meets  # type: ignore[method-assign]  # this one's alone
        answers = await asyncio.gather(*(life.answer(one) for one in asked))
        return list(answers), life.changes, calls

    answers, changes, calls = virtual_time.run(work())
    assert {answer.status for answer in answers} == {"ok"}
    assert changes[0] is State.OPEN
    assert changes[-1] is State.CLOSED
    probes = changes.count(State.HALF_OPEN)
    assert calls <= 50 + SYSTEM.circuit.failures_max + SYSTEM.limits.calls_max + probes
    assert max(answer.tries for answer in answers) < 60 / SYSTEM.circuit.open_s


@pytest.mark.parametrize(
    ("effect", "says", "status"),
    [
        (Effect.NONE, "away", "expired"),
        (Effect.NONE, "hang", "expired"),
        (Effect.AT_LEAST_ONCE, "away", "expired"),
        (Effect.AT_LEAST_ONCE, "lost", "unknown"),
        (Effect.RECONCILED, "away", "expired"),
        (Effect.AT_MOST_ONCE, "away", "expired"),
        (Effect.AT_MOST_ONCE, "lost", "unknown"),
        (Effect.AT_MOST_ONCE, "reset", "unknown"),
    ],
)
def test_at_the_deadline_it_says_whether_it_may_have_been_done(effect: Effect, says: str, status: str) -> None:
    async def work() -> tuple[ConnectorCompleted, Bank]:
        bank = Bank([says] * 1000, ["away"] * 1000)
        return await Life(bank, Log()).answer(command(effect, deadline_s=20.0)), bank

    answer, bank = virtual_time.run(work())
    assert answer.status == status
    assert answer.reason
    assert answer.status == "unknown" or not bank.effects


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"system": "mint"}, "wrong_system"),
        ({"operation": "steal"}, "unknown_operation"),
        ({"operation": "look"}, "effect_not_given"),
        ({"request": '{"amount":"much"}'}, "request_broken"),
        ({"request": '{"amount":1,"more":2}'}, "request_broken"),
        ({"request": "nothing"}, "request_broken"),
    ],
)
def test_what_can_never_be_answered_is_refused_at_once_and_tried_never(changed: dict[str, Any], word: str) -> None:
    async def work() -> ConnectorCompleted:
        return await Life(Bank(["away"] * 9), Log()).answer(command(Effect.AT_LEAST_ONCE, **changed))

    answer = virtual_time.run(work())
    assert (answer.status, answer.reason.partition(":")[0], answer.tries) == ("failed", word, 0)
    assert "much" not in answer.reason


def test_a_refusal_is_an_answer_and_opens_no_circuit() -> None:
    async def work() -> tuple[list[ConnectorCompleted], list[State]]:
        life = Life(Bank(["declined"] * 20), Log())
        return [
            await life.answer(command(Effect.AT_LEAST_ONCE, request_id=f"r{one}")) for one in range(20)
        ], life.changes

    answers, changes = virtual_time.run(work())
    assert {(answer.status, answer.reason) for answer in answers} == {("failed", "declined: the account is closed")}
    assert changes == []


def test_what_a_system_asks_for_is_waited_for() -> None:
    """Retry-After: nobody calls before."""

    async def work() -> tuple[ConnectorCompleted, float]:
        begun = virtual_time.now()
        return await Life(Bank(["busy"]), Log()).answer(command(Effect.NONE)), virtual_time.now() - begun

    answer, took = virtual_time.run(work())
    assert (answer.status, answer.tries) == ("ok", 2)
    assert took >= 3.0


def test_whoever_finds_that_another_tried_first_asks_no_more_and_writes_no_more() -> None:
    """at most once: a former owner's intent shows only behind ours, since the reader was behind."""

    async def work() -> tuple[ConnectorCompleted, int, int]:
        bank, log = Bank([]), Log()
        life, write = Life(bank, log), log.intend

        async def behind(record: Record, asked: ConnectorRequested, mark: Mark) -> int:
            if not log.intents:
                log.intents.append(Intent(0, round(virtual_time.now() * 1000), (1, 1)))
            return await write(record, asked, mark)

        life.calling._claims._intend = behind
        answer = await life.answer(command(Effect.AT_MOST_ONCE))
        return answer, bank.effects, len(log.intents)

    answer, booked, written = virtual_time.run(work())
    assert (answer.status, booked, written) == ("unknown", 0, 2)
    assert answer.reason.startswith("tried_before")


@pytest.mark.parametrize(("effect", "status"), [(Effect.RECONCILED, "ok"), (Effect.AT_MOST_ONCE, "unknown")])
def test_an_intent_that_is_not_kept_any_more_is_not_taken_for_none(effect: Effect, status: str) -> None:
    """A command that waited behind many others may have been tried by a former owner: it is done no second time."""

    async def work() -> tuple[ConnectorCompleted, int]:
        bank = Bank([], effects=1)
        return await Life(bank, Log(forgotten=True)).answer(command(effect)), bank.effects

    answer, booked = virtual_time.run(work())
    assert (answer.status, booked) == (status, 1)


@pytest.mark.parametrize("effect", [Effect.RECONCILED, Effect.AT_LEAST_ONCE])
def test_a_system_that_did_not_answer_is_left_alone_before_it_is_asked_or_tried_again(effect: Effect) -> None:
    """It may still be at it: a stated moment, and not the same one for all who wait."""

    async def work() -> list[float]:
        begun: list[float] = []

        async def one(number: int) -> None:
            bank = Bank(["hang_done"])
            life = Life(bank, Log())
            life.calling._random = Random(number)
            bank.kill = lambda where: begun.append(virtual_time.now()) if where == "calling" else None
            done = bank.done

            async def asked(operation: str, request: Book, ask: Ask) -> Booked | None:
                begun.append(virtual_time.now())
                return await done(operation, request, ask)

            bank.done = asked  # type: ignore[method-assign]  # this one's alone
            first = len(begun)
            answer = await life.answer(command(effect))
            assert answer.status == "ok"
            begun[first:] = [begun[first + 1] - begun[first] - SYSTEM.limits.call_s_max]

        for number in range(20):
            await one(number)
        return begun

    waited = virtual_time.run(work())
    unsure_s = SYSTEM.again.unsure_s
    assert min(waited) >= unsure_s
    assert max(waited) <= 2 * unsure_s + 0.1
    assert max(waited) - min(waited) > unsure_s / 3


def test_where_the_deadline_comes_first_nobody_is_asked_and_nothing_is_claimed() -> None:
    """A question that comes too early would be told that nothing was done, and it would be done twice."""

    async def work() -> tuple[ConnectorCompleted, int]:
        bank = Bank(["late"])
        answer = await Life(bank, Log()).answer(command(Effect.RECONCILED, deadline_s=1.5))
        await asyncio.sleep(5.0)
        return answer, bank.effects

    answer, booked = virtual_time.run(work())
    assert (answer.status, booked) == ("unknown", 1)


def test_a_try_that_began_while_this_one_waited_at_the_gate_is_not_asked_about_too_early() -> None:
    """A former owner claims and calls after its tries were waited for: its effect must not land behind the question."""

    async def work() -> tuple[ConnectorCompleted, int]:
        bank, log = Bank([]), Log()
        log.intents.append(Intent(0, round((virtual_time.now() - 100) * 1000), (1, 1)))
        life = Life(bank, log)
        permits = [await life.gate.enter(virtual_time.now() + HOUR_S, lambda: True) for _ in range(2)]
        later = asyncio.create_task(life.answer(command(Effect.RECONCILED)))
        await asyncio.sleep(1.0)
        assert life.gate.waiting == 1
        log.intents.append(Intent(1, round(virtual_time.now() * 1000), (1, 2)))
        asyncio.get_running_loop().call_later(0.9, bank._late)  # the former owner's call
        for permit in permits:
            assert permit is not None
            life.gate.succeed(permit)
        return await later, bank.effects

    answer, booked = virtual_time.run(work())
    assert (answer.status, answer.reconciled, booked) == ("ok", True, 1)


@pytest.mark.parametrize("apart", [False, True], ids=["one process", "two processes"])
@pytest.mark.parametrize("behind_s", [0.0, 0.3, 1.5, 4.0])
@pytest.mark.parametrize("says", [[], ["slow"], ["late"], ["lost", "away"], ["away", "slow", "lost"]])
def test_two_commands_of_one_step_have_one_effect(says: list[str], behind_s: float, apart: bool) -> None:
    """Plan asked again while this machine's clock says that the first command has time: both are at work at once."""

    async def work() -> tuple[list[str], int]:
        bank, log = Bank(says), Log()
        first = Life(bank, log)
        lives = (first, Life(bank, log) if apart else first)
        asked = [
            command(Effect.RECONCILED, request_id=ids.command_id("case-1", "book", attempt), attempt=attempt)
            for attempt in (1, 2)
        ]
        one = asyncio.create_task(lives[0].answer(asked[0]))
        await asyncio.sleep(behind_s)
        answers = await asyncio.gather(one, lives[1].answer(asked[1]))
        return [answer.status for answer in answers], bank.effects

    statuses, booked = virtual_time.run(work())
    assert (statuses, booked) == (["ok", "ok"], 1)
