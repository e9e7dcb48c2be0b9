"""The independent verifier: judges from topics and the outcome store alone, while things break and afterwards.

Enters: addresses, and the folder of a load (its journal; without one, everything that is there is judged). Leaves:
Findings. Guaranteed: no stage is asked and nothing is written; what is claimed of a running system is what must hold
at every moment (fold.py says why), of a drained one everything. A case partition at a time is folded, PROCESSES of
them side by side, so that memory is that of the largest partitions and not of the whole.

    fold.py      the cases of a partition, pure          arrivals.py   the events that arrived, pure
    books.py     limits and reservations, pure           findings.py   violations and figures
    reading.py   topics and schemas, by its own reader

The hash chain is not judged here: `aios audit verify` does that offline. Sinks are judged by what Valkey holds.
"""

from __future__ import annotations

import json
import resource
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from redis import Redis

from aios.infra.prove import arrivals, journal
from aios.infra.prove.arrivals import Arrivals
from aios.infra.prove.books import Books
from aios.infra.prove.findings import Findings, Law, Part
from aios.infra.prove.fold import (
    LETTERS,
    ORDER,
    POSITION,
    RESERVED,
    RETURNS,
    SPREAD,
    STATE,
    Fold,
    Scope,
    home_of,
)
from aios.infra.prove.reading import Addresses, Eyes, Kept, Place, Reader, Registry, Seen, everything
from aios.streams import topology
from aios.streams.errors import Unavailable
from aios.streams.outcome_layout import case_key
from aios.streams.topics import (
    BUDGET_ANSWERED,
    BUDGET_CHANGED,
    BUDGET_DECLARED,
    CASE_ADMITTED,
    CASE_DECIDED,
    DOCUMENT_RECEIVED,
    LETTER_CHANGED,
    USAGE_SETTLED,
)
from aios.streams.topology import ADMIT, BUDGET, PLAN, POOLS

PROCESSES = 2
FAULTS = "faults.jsonl"  # lines {"fault", "stage", "at"}: what was done to the system, Unix ms
HEADED = LETTERS | RETURNS | {ADMIT.dead_letters.name, ADMIT.retries.name}  # what is read by its headers
POLL_S = 1.0
STORE_S_MAX = 30.0  # for the outcome store to show what the topics hold
STORE_BATCH = 1_000
FEW = 5_000  # events; fewer are folded in this process, and read at once of a system at rest
ELSEWHERE = "plan"  # whose completions count for a stage that tells nothing itself
QUIET_LOOKS = 2  # in a row, before a system is at rest


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to a stage, and when."""

    fault: str
    stage: str
    at: int


@dataclass(slots=True)
class _Folded:
    """What a process hands back. positions: plan's, by topic."""

    part: Part
    marks: Mapping[int, bytearray]
    admitted_at: Mapping[int, array[int]]
    positions: Mapping[str, int]


def check(addresses: Addresses, folder: Path | None, *, drained: bool, bound_s: float | None = None) -> Findings:
    """Judge. drained: the system is at rest (settle() returned True). bound_s: of going on after each fault noted.

    Raises Unavailable when broker, registry or Valkey do not answer.
    """
    began = time.monotonic()
    eyes = Eyes(addresses)
    starts: Mapping[str, int] = journal.start_of(folder).get("ends", {}) if folder is not None else {}
    begins = _begins(eyes, starts, drained=drained)
    written = journal.size(folder) if folder is not None else 0
    sources = _sources(eyes, begins)
    committed = _committed(eyes, begins)
    found = Arrivals(sources, drained=drained)
    if folder is not None:
        found.expect(journal.read(folder, written))
    few = sum(end - start for start, end in sources.values()) < FEW
    reader: Reader | Kept = _kept(addresses, eyes, begins) if few and drained else Reader(addresses)
    registry = Registry(addresses.registry)
    try:
        positions = _admit_positions(eyes, reader, registry, begins)
        for partition, position in positions.items():
            found.position(partition, position)
        _read_arrivals(reader, registry, sources, found)
        whole = _is_whole(begins, starts)
        scopes = [
            Scope(
                partition=partition,
                whole=whole,
                since=starts.get(f"{STATE}/{partition}", 0),
                committed=committed,
                sources=sources,
                drained=drained,
            )
            for partition in sorted(place[1] for place in begins if place[0] == CASE_ADMITTED.name)
        ]
        part = _folds(found, _folded(addresses, begins, scopes, reader if few else None))
        _read_letters(eyes, reader, registry, begins, found)
        part.merge(_books(addresses, eyes, reader, registry, begins, drained=drained))
    finally:
        reader.close()
    for place, position in positions.items():
        if committed.get((DOCUMENT_RECEIVED.name, place), 0) > position:
            part.violations.add(Law.COMMITTED, f"admit's group committed past its position {position} on {place}")
    part.merge(found.finish())
    findings = Findings(part, drained)
    if folder is not None and bound_s is not None:
        judge_progress(findings, folder, bound_s)
    findings.took_s = time.monotonic() - began
    findings.memory_mib = _peak_mib()
    return findings


def faults(folder: Path) -> list[Fault]:
    """What was done to the system while it was under this load."""
    path = folder / FAULTS
    if not path.is_file():
        return []
    return [Fault(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def rows(findings: Findings, folder: Path | None) -> list[dict[str, Any]]:
    """The table: a row a fault, one if nothing was done."""
    noted = (faults(folder) if folder is not None else []) or [Fault("none", "", 0)]
    return [
        {
            "fault": one.fault,
            "stage": one.stage,
            "lost": findings.lost,
            "second decisions": findings.second_decisions,
            "repeated effects": findings.repeated_effects,
            "next completion s": next_s(findings, one) if one.at else None,
        }
        for one in noted
    ]


def next_s(findings: Findings, fault: Fault) -> float | None:
    """Seconds from a fault to the next thing that its stage told."""
    stage = fault.stage if fault.stage in findings.part.paces else ELSEWHERE
    return findings.next_completion_s(fault.at, stage)


def settle(addresses: Addresses, s_max: float, progress: Callable[[Counter[str]], None] | None = None) -> bool:
    """Wait until no group has anything left to read; False after s_max. progress: how many records, by group.

    Counts offsets first, which is quick, and looks into what little is left: markers of transactions are no records.
    """
    deadline = time.monotonic() + s_max
    eyes, reader = Eyes(addresses), Reader(addresses)
    quiet = 0
    try:
        while time.monotonic() < deadline:
            left = _left(eyes, reader)
            if progress is not None:
                progress(left)
            quiet = 0 if left.total() else quiet + 1
            if quiet >= QUIET_LOOKS:
                return True
            time.sleep(POLL_S)
        return False
    finally:
        reader.close()


def _left(eyes: Eyes, reader: Reader) -> Counter[str]:
    """Records that each group has not committed yet; an upper bound while they are many."""
    wanted = {stage: eyes.places(topic.name for topic in stage.inputs) for stage in topology.STAGES if stage.reads}
    every = sorted({place for places in wanted.values() for place in places})
    ends, begins = eyes.ends(every), eyes.beginnings(every)
    left: Counter[str] = Counter()
    for stage, places in wanted.items():
        committed = eyes.committed(stage.group, places)
        ranges = {place: (max(committed.get(place, 0), begins[place]), ends[place]) for place in places}
        many = {place: end - start for place, (start, end) in ranges.items() if end - start > STORE_BATCH}
        few = {place: span for place, span in ranges.items() if place not in many}
        if found := sum(many.values()) + sum(1 for _ in reader.several(few)):
            left[stage.group] = found
    return left


# ── what is read, in the order that makes it comparable ──────────────────────────────────────────────


def _begins(eyes: Eyes, starts: Mapping[str, int], *, drained: bool) -> dict[Place, int]:
    """Where reading begins, by place: the load's start, or what retention has left. Limits hold from before it.

    So do places at pools, judged at rest: what was remembered until then takes seconds to read.
    """
    names = {*ORDER, DOCUMENT_RECEIVED.name, arrivals.STATE, ADMIT.dead_letters.name, ADMIT.retries.name}
    names |= {BUDGET_DECLARED.name, BUDGET_CHANGED.name, BUDGET_ANSWERED.name}
    begins = eyes.beginnings(eyes.places(sorted(names)))
    before = (BUDGET_DECLARED.name, STATE) if drained else (BUDGET_DECLARED.name,)
    starts = {place: start for place, start in starts.items() if place.rpartition("/")[0] not in before}
    return {place: max(first, starts.get(f"{place[0]}/{place[1]}", 0)) for place, first in begins.items()}


def _is_whole(begins: Mapping[Place, int], starts: Mapping[str, int]) -> bool:
    """No case was admitted before what is read, and retention has taken nothing of it."""
    since = {place: starts.get(f"{place[0]}/{place[1]}", 0) for place in begins if place[0] in ORDER}
    is_first = not any(start for place, start in since.items() if place[0] == CASE_ADMITTED.name)
    return is_first and all(begins[place] <= start for place, start in since.items())


def _sources(eyes: Eyes, begins: Mapping[Place, int]) -> dict[int, tuple[int, int]]:
    places = [place for place in begins if place[0] == DOCUMENT_RECEIVED.name]
    ends = eyes.ends(places)
    return {place[1]: (begins[place], max(ends[place], begins[place])) for place in places}


def _committed(eyes: Eyes, begins: Mapping[Place, int]) -> dict[Place, int]:
    """Of the groups whose inputs are judged, before anything else is read."""
    found: dict[Place, int] = {}
    for stage in (ADMIT, PLAN, *POOLS):
        names = {topic.name for topic in stage.reads}
        found |= eyes.committed(stage.group, [place for place in begins if place[0] in names])
    return found


def _admit_positions(
    eyes: Eyes, reader: Reader | Kept, registry: Registry, begins: Mapping[Place, int]
) -> dict[int, int]:
    found: dict[int, int] = {}
    for seen in _all(eyes, reader, begins, arrivals.STATE):
        if seen.key == POSITION and seen.value is not None:
            found[seen.partition] = registry.decode(seen.value)["inputs"].get(DOCUMENT_RECEIVED.name, 0)
    return found


def _read_arrivals(
    reader: Reader | Kept, registry: Registry, sources: Mapping[int, tuple[int, int]], found: Arrivals
) -> None:
    for partition, (start, end) in sources.items():
        for seen in reader.read(DOCUMENT_RECEIVED.name, partition, start, end):
            found.arrived(seen, _document(registry, seen))


def _document(registry: Registry, seen: Seen) -> Mapping[str, Any] | None:
    """What a producer sent, if it is a document. Raises Unavailable."""
    try:
        event = registry.decode(seen.value or b"")
        return event if "text" in event else None
    except Unavailable:
        raise
    except Exception:  # noqa: BLE001 - anything may stand in there; what it is does not matter here
        return None


def _read_letters(
    eyes: Eyes, reader: Reader | Kept, registry: Registry, begins: Mapping[Place, int], found: Arrivals
) -> None:
    """Changes of letters before returns: a letter that one closed came back in the same transaction, so it is there."""
    for seen in _all(eyes, reader, begins, ADMIT.dead_letters.name):
        found.letter(seen)
    for seen in _all(eyes, reader, begins, LETTER_CHANGED.name):
        found.changed(registry.decode(seen.value or b""))
    for topic in sorted({ADMIT.retries.name, *RETURNS}):
        for seen in _all(eyes, reader, begins, topic):
            found.returning(seen)


def _books(
    addresses: Addresses,
    eyes: Eyes,
    reader: Reader | Kept,
    registry: Registry,
    begins: Mapping[Place, int],
    *,
    drained: bool,
) -> Part:
    books = Books(drained=drained, is_whole=drained and _is_booked_once(eyes))
    for seen in _all(eyes, reader, begins, BUDGET_DECLARED.name):
        books.declared(seen, registry.decode(seen.value or b""))
    if not books.is_limited:
        return books.part
    takes = {
        BUDGET_CHANGED: books.changed,
        BUDGET_ANSWERED: books.answered,
        CASE_DECIDED: books.decided,
    }
    for topic, take in takes.items():
        for seen in _all(eyes, reader, begins, topic.name):
            take(seen, registry.decode(seen.value or b""))
    whole = Reader(addresses)
    try:
        ledger = [USAGE_SETTLED.name]
        lines = everything(eyes, whole, ledger) if drained else _all(eyes, reader, begins, *ledger)
        for seen in lines:
            books.booked(seen, registry.decode(seen.value or b""))
    finally:
        whole.close()
    return books.finish()


def _is_booked_once(eyes: Eyes) -> bool:
    """Retention has left every line of the ledger, and none came to budget again or lies in its dead letters."""
    aside = eyes.places((BUDGET.retries.name, BUDGET.dead_letters.name))
    return not any(eyes.beginnings(eyes.places((USAGE_SETTLED.name,))).values()) and not any(eyes.ends(aside).values())


def _all(eyes: Eyes, reader: Reader | Kept, begins: Mapping[Place, int], topic: str) -> Iterator[Seen]:
    places = [place for place in begins if place[0] == topic]
    headers = topic in HEADED
    for place, end in eyes.ends(places).items():
        yield from reader.read(*place, begins[place], end, headers=headers)


def _kept(addresses: Addresses, eyes: Eyes, begins: Mapping[Place, int]) -> Kept:
    """Everything that is to be judged, in memory."""
    ends = eyes.ends(begins)
    reader = Reader(addresses)
    try:
        return Kept(reader.all({place: (first, ends[place]) for place, first in begins.items()}))
    finally:
        reader.close()


def _folds(found: Arrivals, folds: Iterable[tuple[Scope, _Folded]]) -> Part:
    """Every case partition."""
    part = Part()
    for scope, folded in folds:
        part.merge(folded.part)
        found.became(folded.marks, folded.admitted_at)
        for topic, position in folded.positions.items():
            if scope.committed.get((topic, scope.partition), 0) > position:
                why = f"plan's group committed {topic}/{scope.partition} past its position {position}"
                part.violations.add(Law.COMMITTED, why)
    return part


def _folded(
    addresses: Addresses, begins: Mapping[Place, int], scopes: Sequence[Scope], reader: Reader | Kept | None
) -> Iterator[tuple[Scope, _Folded]]:
    """reader: where they are few, for all of them at once; without, in processes of their own."""
    if reader is not None:
        yield from zip(scopes, _fold(addresses, scopes, begins, reader), strict=True)
        return
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        folding = [pool.submit(_fold_apart, addresses, scope, begins) for scope in scopes]
        while folding:  # what is taken in is let go of: a fold's result is of the size of its source topic
            yield scopes[len(scopes) - len(folding)], folding.pop(0).result()


def _fold_apart(addresses: Addresses, scope: Scope, begins: Mapping[Place, int]) -> _Folded:
    """One partition, in a process of its own."""
    reader = Reader(addresses)
    try:
        (folded,) = _fold(addresses, [scope], begins, reader)
        return folded
    finally:
        reader.close()


def _fold(
    addresses: Addresses, scopes: Sequence[Scope], begins: Mapping[Place, int], reader: Reader | Kept
) -> list[_Folded]:
    """Each topic is read once, for all scopes.

    A reader that was given the same partitions again passed over a whole one, while its leader moved.
    """
    eyes, registry = Eyes(addresses), Registry(addresses.registry)
    folds, partitions = [Fold(scope) for scope in scopes], sum(place[0] == CASE_ADMITTED.name for place in begins)
    by_partition = {scope.partition: [fold] for scope, fold in zip(scopes, folds, strict=True)}
    for topic in ORDER:
        keyed_by_letter, spread = topic == LETTER_CHANGED.name, topic in SPREAD
        wanted = [place for place in begins if place[0] == topic]
        places = wanted if keyed_by_letter or spread else [place for place in wanted if place[1] in by_partition]
        ranges = {place: (begins[place], end) for place, end in eyes.ends(places).items()}
        for seen in _latest(reader.several(ranges, headers=topic in HEADED | SPREAD)):
            home = home_of(seen, partitions) if spread else seen.partition
            if takers := folds if keyed_by_letter else by_partition.get(home):
                event = _event(registry, seen)
                for fold in takers:
                    fold.take(seen, event)
    return [_finished(addresses, scope, fold) for scope, fold in zip(scopes, folds, strict=True)]


def _finished(addresses: Addresses, scope: Scope, fold: Fold) -> _Folded:
    part = fold.finish()
    if scope.drained:
        _compare_store(addresses, fold, part)
    return _Folded(part, fold.marks, fold.admitted_at, fold.position)


def _latest(records: Iterator[Seen]) -> Iterator[Seen]:
    """Of a changelog the last record of each key, as compaction would leave it; every record of other topics."""
    first = next(records, None)
    if first is None:
        return iter(())
    if first.topic != STATE:
        return chain((first,), records)
    kept = {(first.partition, first.key): first}
    for seen in records:
        if seen.key == POSITION or not seen.key.startswith(RESERVED):
            kept[seen.partition, seen.key] = seen
    return iter(kept.values())


def _event(registry: Registry, seen: Seen) -> Mapping[str, Any] | None:
    if seen.value is None or seen.topic in HEADED:
        return None
    if seen.topic == STATE and seen.key.startswith(RESERVED) and seen.key != POSITION:
        return None  # timers and parked keys
    return registry.decode(seen.value)


def _compare_store(addresses: Addresses, fold: Fold, part: Part) -> None:
    """What callers are shown is what the topics say; the sink may be a moment behind."""
    store: Redis = Redis.from_url(addresses.valkey, decode_responses=True)
    wanted = [case_id for case_id, case in fold.cases.items() if case.seq and case.admitted]
    deadline = time.monotonic() + STORE_S_MAX
    while True:
        wanted = [case_id for batch in _batches(wanted) for case_id in _different(store, fold, batch)]
        if not wanted or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    store.close()
    for case_id in wanted:
        part.violations.add(Law.ONE_DECISION, f"the outcome store says otherwise of case {case_id} than the topics")


def _batches(wanted: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(wanted), STORE_BATCH):
        yield wanted[at : at + STORE_BATCH]


def _different(store: Redis, fold: Fold, batch: Sequence[str]) -> list[str]:
    pipe = store.pipeline(transaction=False)
    for case_id in batch:
        pipe.hmget(case_key(case_id), "seq", "status", "decision")
    found = []
    for case_id, (seq, status, decision) in zip(batch, pipe.execute(), strict=True):
        case = fold.cases[case_id]
        said = json.loads(decision) if decision else {}
        shown = tuple(said.get(name) for name in ("decision_id", "outcome", "label", "decided_by", "case_seq"))
        if (int(seq or 0), status) != (case.seq, case.status) or (case.decision and shown != case.decision):
            found.append(case_id)
    return found


def judge_progress(findings: Findings, folder: Path, bound_s: float) -> None:
    """I12: after each fault noted, its stage tells something within the bound."""
    findings.has_bound = True
    for fault in faults(folder):
        after = next_s(findings, fault)
        if after is None or after > bound_s:
            said = "nothing" if after is None else f"{after:.1f} s"
            what = f"{fault.fault} of {fault.stage}: {said} to the next completion, at most {bound_s} s"
            findings.part.violations.add(Law.PROGRESS, what)


def _peak_mib() -> int:
    """Of this process and the largest of its children, the most that was held."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + PROCESSES * children) // 1024
