"""Mistakes put into the product on purpose, each of which the simulation has to find.

A mutation is one function of the product with one piece of its text replaced, in the simulator's process alone. Where
the text is not there any more the mutation says so and counts as not caught, so that none goes stale without a word.
Enters: a mutation, seeds. Leaves: the first seed under which an invariant breaks, and which. A mutation that no seed
finds would mean that the simulation proves less than it says.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aios.infra.prove.simulation import simulate

_ANNOTATIONS = 0x1000000  # CO_FUTURE_ANNOTATIONS: as in the files the texts are from


@dataclass(frozen=True, slots=True)
class Mutation:
    """where: module:function or module:Class.method. before: exactly once in its text."""

    name: str
    where: str
    before: str
    after: str
    why: str


MUTATIONS = (
    Mutation(
        "no skip below the position",
        "aios.processors.stateful.store:PartitionStore.apply",
        "if one.offset >= draft.position[batch.topic]",
        "",
        "what is read again after a restart is processed again",
    ),
    Mutation(
        "position before its effects",
        "aios.processors.stateful.store:PartitionStore._commit",
        "            position = self._produce(producer, draft, ground_)\n",
        "            position = self._produce(producer, Draft({}, {}, draft.position), ground_)\n"
        "            producer.commit_transaction(COMMIT_S_MAX)\n"
        "            producer.begin_transaction()\n"
        "            position = self._produce(producer, draft, ground_)\n",
        "a death between the two transactions loses what the second would have written",
    ),
    Mutation(
        "no fence",
        "aios.processors.stateful.store:PartitionStore.open",
        'services.log.producer(f"{self._stage.group}.{self._partition}")',
        'services.log.producer(f"{self._stage.group}.{self._partition}.{services.monotonic()}")',
        "an owner that was frozen goes on writing beside the new one",
    ),
    Mutation(
        "position only with changes",
        "aios.processors.stateful.store:PartitionStore._produce",
        "        producer.produce(name, value, changelog.POSITION,",
        "        if draft.changes:\n            producer.produce(name, value, changelog.POSITION,",
        "a batch that changes no state loses its position, and is processed again",
    ),
    Mutation(
        "position lost by a tombstone",
        "aios.processors.stateful.store:PartitionStore._produce",
        "producer.produce(name, value, changelog.POSITION,",
        "producer.produce(name, None if None in draft.timers.values() else value, changelog.POSITION,",
        "a cancelled timer takes the position with it",
    ),
    Mutation(
        "ack before finish",
        "aios.streams.offsets:OffsetTracker.to_commit.fget",
        "self.position",
        "self._next",
        "offsets of records that are still in hand are committed",
    ),
    Mutation(
        "deadline before waiting answers",
        "aios.processors.stateful.store:PartitionStore.tick",
        "any(self.position[topic] < end for topic, end in self._awaited.items())",
        "False",
        "a deadline fires although the answer stands in the input",
    ),
    Mutation(
        "timers that end who fires them",
        "aios.processors.stateful.store:PartitionStore.tick",
        "        return fired_count\n",
        "        return [0, 1][fired_count]\n",
        "whoever has fired several at once leaves by an error of Python's, is started again, and goes on",
    ),
    Mutation(
        "dead letter outside the transaction",
        "aios.processors.stateful.store:PartitionStore._settle",
        "        if turn is None:\n            draft.write(out)",
        "        if turn is None:\n            self._services.log.outside(out)",
        "a transaction that is lost leaves its dead letters behind, and they come again",
    ),
    Mutation(
        "repeat judged by another hash",
        "aios.processors.cases.case:_admitted",
        "state.body_hash == ids.short(event.body_hash)",
        "state.event_id == event.event_id",
        "the same body under another event id is refused as a conflict",
    ),
    Mutation(
        "parking that overtakes",
        "aios.dlq.parking:way",
        "Way.PROCESS if ordinal == parked.lowest else Way.FOLLOW",
        "Way.PROCESS",
        "a later record of a key goes before one that failed",
    ),
    Mutation(
        "nobody follows",
        "aios.dlq.parking:way",
        "Way.PROCESS if parked is None else Way.FOLLOW",
        "Way.PROCESS",
        "records of a key go past one that waits for its retry",
    ),
    Mutation(
        "retry returns at once",
        "aios.dlq.retry:Held.add",
        "min(max(written_ms + after_ms - now_ms, 0), after_ms)",
        "0",
        "the delay of a tier is not kept",
    ),
    Mutation(
        "timers by a clock that is ahead",
        "aios.streams.log_clock:LogClock.now_ms",
        "self._seen_ms + int((self._monotonic() - self._seen_at) * 1000)",
        "self._seen_ms + 5_000 + int((self._monotonic() - self._seen_at) * 1000)",
        "deadlines fire before the broker's clock has reached them",
    ),
    Mutation(
        "given up at the first death",
        "aios.dlq.deaths:given_up",
        "deaths < ALONE_MAX",
        "deaths < ALONE_MAX - 1",
        "a record is thrown away because a process was killed while it had it",
    ),
    Mutation(
        "never given up",
        "aios.dlq.deaths:given_up",
        "deaths < ALONE_MAX",
        "True",
        "a record that ends its process ends every next one too",
    ),
    Mutation(
        "attempts are not counted",
        "aios.dlq.settle:Settler._write",
        "envelope.attempts_of(record) + 1",
        "envelope.attempts_of(record)",
        "what fails for ever returns for ever",
    ),
    Mutation(
        "replay job that forgets its progress",
        "aios.processors.replaying.prints:Prints.returned",
        "            turn.keep(letter_states.letter_key",
        "            (letter_states.letter_key",
        "what one job returned is returned again by the next",
    ),
    Mutation(
        "a place that is kept",
        "aios.processors.cases.asking:Asking.leave_pool",
        "            self._turnstile.leave(state.tenant, state.pool, state.turn)\n",
        "",
        "who has its answer still counts, and those who wait are never called",
    ),
    Mutation(
        "a turn without a place",
        "aios.processors.cases.turnstile:Turnstile._call",
        "                outstanding += 1\n",
        "",
        "more commands of a tenant stand with a pool than it has places",
    ),
    Mutation(
        "a turn that is told twice",
        "aios.processors.cases.turnstile:Turnstile._call",
        "                self.changes[key] = None\n",
        "",
        "who was called is remembered as waiting, and its place is lost when it leaves",
    ),
    Mutation(
        "a place that goes with who gave up",
        "aios.processors.cases.turnstile:Turnstile.leave",
        "if ordinal and self._read(key := turn_key(tenant, pool, ordinal), TurnRemembered) is not None:",
        "if ordinal and (key := turn_key(tenant, pool, ordinal)):",
        "a case that was called and gave up hands its place to nobody",
    ),
    Mutation(
        "an effect without an intent",
        "aios.processors.connectors.calling:Calling._try",
        "if course.effect is not Effect.NONE and not await self._claims.claim(course):",
        "if False:",
        "who takes over does not know that it was tried, and does it again",
    ),
    Mutation(
        "a question that is not asked",
        "aios.processors.connectors.calling:Calling._try",
        "if course.maybe_done and course.effect is Effect.RECONCILED:",
        "if False:",
        "what was done, and nobody heard of, is done again",
    ),
    Mutation(
        "a question that comes too early",
        "aios.processors.connectors.calling:Calling._rest",
        "wait_s = max(wait_s, course.ended + quiet_s - self._clock())",
        "pass",
        "the system is still at it, says that nothing was done, and is asked to do it once more",
    ),
    Mutation(
        "an intent that is not read back",
        "aios.processors.connectors.claims:Claims.others",
        "[one for one in self._intents.of(partition, command.request_id) if not _is_own(one, course)]",
        "[]",
        "two owners of one partition both do it",
    ),
    Mutation(
        "a limit that nobody looks at",
        "aios.processors.accounts:reserve",
        "if asked.amount_micro <= least:",
        "if asked.amount_micro:",
        "more is reserved and spent than the tenant may spend",
    ),
    Mutation(
        "what is left does not return",
        "aios.processors.accounts:_end",
        "reserved_micro - held.left_micro",
        "reserved_micro",
        "a case that has ended keeps its reservation, until nobody is granted any more",
    ),
    Mutation(
        "spent, and reserved still",
        "aios.processors.accounts:_book",
        "reserved_micro=account.reserved_micro - inside,",
        "reserved_micro=account.reserved_micro,",
        "what a case uses inside its reservation is taken from the limit twice",
    ),
    Mutation(
        "an answer that costs nothing",
        "aios.processors.cases.spending:wasted",
        '_line(event, settlement_id, "", WASTED, now_ms)',
        "closed(event, settlement_id, now_ms)",
        "answers that came twice or too late are paid, and are in no books",
    ),
    Mutation(
        "dry run that decodes what ended it",
        "aios.processors.replaying.guard:Guard.is_deadly",
        " or self._hands.is_given_up(_name(letter))",
        "",
        "a dead letter that ends who decodes it ends the replay stage at every start",
    ),
)


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """Within: the product has this mistake. Raises LookupError when its text is gone."""
    module_name, _, path = mutation.where.partition(":")
    module = importlib.import_module(module_name)
    parts = path.removesuffix(".fget").split(".")
    owner: Any = module
    for part in parts[:-1]:
        owner = getattr(owner, part)
    name = parts[-1]
    original = inspect.getattr_static(owner, name)
    function = original.fget if isinstance(original, property) else original
    changed: Any = _changed(mutation, function)
    changed = property(changed) if isinstance(original, property) else changed
    places = [(owner, name)] + [
        (each, name)
        for each_name, each in sys.modules.items()
        if each_name.startswith("aios.") and each is not owner and vars(each).get(name) is original
    ]
    for where, as_name in places:
        setattr(where, as_name, changed)
    try:
        yield
    finally:
        for where, as_name in places:
            setattr(where, as_name, original)


def _changed(mutation: Mutation, function: Any) -> Any:
    text = inspect.getsource(function)
    if text.count(mutation.before) != 1:
        raise LookupError(f"{mutation.name}: its text is not in {mutation.where} any more")
    text = text.replace(mutation.before, mutation.after)
    text = text.replace(f"{text[: len(text) - len(text.lstrip())]}@property\n", "", 1)
    if text[0].isspace():
        text = f"if True:\n{text}"
    made: dict[str, Any] = {}
    code = compile(text, f"<{mutation.name}>", "exec", dont_inherit=True, flags=_ANNOTATIONS)
    exec(code, function.__globals__, made)  # noqa: S102 - a text of this file's own
    return made[function.__name__]


@dataclass(frozen=True, slots=True)
class Hunt:
    """What became of a mutation. seed: the first that caught it, None if none did. violated: what it broke."""

    mutation: Mutation
    seed: int | None
    violated: str
    tried: int


def hunt(mutation: Mutation, seeds: Iterable[int]) -> Hunt:
    """Run seeds until one catches it."""
    tried = 0
    try:
        with mutated(mutation):
            for seed in seeds:
                tried += 1
                if violated := simulate.run(seed).violated:
                    return Hunt(mutation, seed, violated, tried)
    except LookupError as error:
        return Hunt(mutation, None, str(error), tried)
    return Hunt(mutation, None, "", tried)
