"""The fault matrix: each fault × each stage, done to one running system under load, then judged.

Enters: a folder, and which rounds (all without). Leaves: a Result. A round is one load: it starts, its faults are done
one after the other, each repaired before the next, the load ends, the system comes to rest, and the verifier judges
everything that the load sent; its figures stand for each of the round's faults. In the middle of a round it judges what
must hold at every moment, while things break. Guaranteed: every fault that was to be
done is in the result, done or not, with the reason; a round of kills goes through the stages, so that each has run for
a while when it dies again; an emptied Valkey comes first, since it is filled again from all that was told before; what
must stop a stage comes last, since nothing but a person brings such a system back.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from confluent_kafka import KafkaException

from aios.infra.local.system import ALONE
from aios.infra.prove import crowd, faults, journal, kept, load, outages, verify
from aios.infra.prove.attending import Loading, Looking, Watched
from aios.infra.prove.faults import Fault, Unreached
from aios.infra.prove.feeding import Feeding
from aios.infra.prove.findings import Findings
from aios.infra.prove.journal import Kind
from aios.infra.prove.judged import INPUT, Judged, Result, Row
from aios.infra.prove.operator import Operator
from aios.infra.prove.stand import Stand, stages_of
from aios.streams import failpoints, topology
from aios.streams.errors import AiosError, Unavailable
from aios.streams.topology import GATEWAY, LETTERS, OPERATIONS
from aios.streams.wall_clock import wall_ms

WARM_S = 2.0  # of load before the first fault of a round
AFTER_S = 2.0  # of load behind the last
BETWEEN_S = 1.0
DRAIN_S_MAX = 120.0
KILL_S, TWICE_S, REVOKED_S = 3.3, 5.6, 5.6  # of a kill, measured from its start to that of the next fault
OTHER_S = 7.0  # of another fault, beside what it lasts
CROWD_S = 60.0  # until as many cases wait as some rounds want
ROUND_S = 11.0  # of a round beside its faults: with it all of them take the 31 minutes that they took (README.md)
MIX: Mapping[Kind, float] = {
    **load.MIX,
    Kind.SLOW: 0.5,
    Kind.FLAKY: 4.0,
    Kind.UNDECODABLE: 2.0,
    Kind.UNKNOWN_SCHEMA: 1.0,
    Kind.BROKEN_CONTRACT: 1.0,
    Kind.OVERSIZE: 0.1,
}
"""More of what is bad than a soak has, since a round is short."""
TIMED = ("gateway", "plan", "budget", "classify", "connectors", "retry", "operations")
"""Deadlines, delays, budgets' windows, leases, limits of a rate: who asks a clock for more than a stamp."""
UNEXPECTED = "unexpected dead letters"  # beside the laws: of an event that was good, or for a reason that it has not
UNANSWERED = "unanswered commands"  # beside the laws too: to an outside system that is there
UNARCHIVED = "letters given up and not archived"  # or twice, or not as they were
CLEAN: Mapping[Kind, float] = {Kind.GOOD: 90.0, Kind.REPEAT: 5.0, Kind.CONCURRENT: 5.0}


@dataclass(frozen=True, slots=True)
class Round:
    """name: what it is asked for by. is_clean: nothing bad is sent, so not one dead letter may be there.

    is_crowded: many cases wait before it begins (crowd.py), and behind it.
    nodes: of Kafka; three where some of them are broken, since they cost three times the CPU.
    """

    name: str
    faults: Sequence[Fault]
    is_clean: bool = False
    is_crowded: bool = False
    nodes: int = 1


def rounds() -> list[Round]:
    """All of them, in order."""
    processes = topology.PROCESSES
    consuming = [process for process in processes if process != GATEWAY.process]
    return [
        Round("stores", [outages.ValkeyEmptied(), outages.RegistryDown(), *outages.STORES_NETWORKS]),
        Round("away", outages.AWAY, is_clean=True),
        *(Round(step, faults.kills(step, processes), is_crowded=True) for step in failpoints.STEPS),
        Round(
            "twice",
            [
                *(faults.KillAt(stage=one, steps=faults.TWICE) for one in processes),
                faults.KillAt(stage=LETTERS.process, steps=(faults.UNFINISHED,)),
                faults.Poison(),
            ],
            is_crowded=True,
        ),
        Round("restart", [faults.RollingRestart()], is_clean=True),
        Round("stop", [faults.Stopped(stage=process) for process in processes]),
        Round("clock", [faults.ClockMoved(stage=one, seconds=way) for one in processes for way in _ways(one)]),
        Round("storm", [faults.RebalanceStorm(stage=one) for one in consuming if one not in ALONE]),
        Round(
            "disk",
            [
                faults.DiskFull(stage="audit"),
                faults.DiskFull(stage="lake"),
                outages.BrokerDiskFull(),
                faults.ArchiveFull(),
                faults.DocumentsFull(),
            ],
            nodes=3,
        ),
        Round(
            "brokers",
            [
                outages.BrokerKilled(),
                outages.CoordinatorMoved(),
                outages.TooFewBrokers(),
                outages.BrokersKilled(),
            ],
            nodes=3,
        ),
        Round("transaction", [outages.HangingTransaction()], nodes=3),
        Round("network", outages.NETWORKS, nodes=3),
        Round(INPUT, [outages.MustStop(recreate=False), outages.MustStop(recreate=True)], nodes=3),
    ]


def cut(processes: Sequence[str] = topology.PROCESSES) -> Round:
    """What a short test has time for: every process dies once, each at another step than the one before."""
    kills: list[Fault] = []
    for number, process in enumerate(processes):
        names = failpoints.names(process)
        kills.append(faults.KillAt(stage=process, steps=(names[number % len(names)].rpartition(".")[2],)))
    return Round("cut", kills)


def _ways(process: str) -> tuple[int, ...]:
    """Both ways where time decides something; ahead elsewhere."""
    return (faults.CLOCK_S, -faults.CLOCK_S) if process in TIMED else (faults.CLOCK_S,)


def expected_s(wanted: Sequence[Round]) -> float:
    """How long these rounds take, about."""
    beside = ROUND_S * len(wanted) + (CROWD_S if any(one.is_crowded for one in wanted) else 0.0)
    return sum(_takes_s(fault) for a_round in wanted for fault in a_round.faults) + beside


def _takes_s(fault: Fault) -> float:
    match fault:
        case faults.KillAt(steps=("revoking",)):
            return REVOKED_S
        case faults.KillAt(steps=(_,)):
            return KILL_S
        case faults.KillAt() | faults.Poison():
            return TWICE_S
    return fault.hold_s + OTHER_S


def run(
    folder: Path,
    wanted: Sequence[Round],
    say: Callable[[str], None],
    stand: Stand | None = None,
    after_each: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Start a system for each number of Kafka nodes, do all of it, stop it. stand: one that runs already, for all.

    after_each: round, with what was found so far.
    """
    began = time.monotonic()
    result = Result()
    for nodes, together in groupby(enumerate(wanted), lambda each: 0 if stand else each[1].nodes):
        with nullcontext(stand) if stand else _stand(folder / f"stand{nodes}", nodes, say) as used:
            is_crowded = False
            for number, one in together:
                left_s = expected_s(wanted[number:])
                say(f"round {number + 1} of {len(wanted)}: {one.name}; about {left_s / 60:.0f} min left")
                if one.is_crowded and not is_crowded:
                    crowd.gather(used.addresses, folder / "crowd", say)
                    is_crowded = True
                    result.open_cases = crowd.OPEN_CASES
                if one.name == INPUT:
                    result.chain = result.chain or _chain(used)
                    result.rows += [_do(used, one.name, fault, say) for fault in one.faults]
                else:
                    _round(used, folder / one.name, one, result, say)
                result.took_s = time.monotonic() - began
                after_each(result)
            if one.name != INPUT:
                result.chain = result.chain or _chain(used)
    result.is_whole, result.took_s = True, time.monotonic() - began
    after_each(result)
    return result


@contextmanager
def _stand(folder: Path, nodes: int, say: Callable[[str], None]) -> Iterator[Stand]:
    stand = Stand(folder, say, nodes)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()


def _chain(stand: Stand) -> str:
    """What is wrong with the audit chain, or missing in it; empty if nothing is."""
    said = stand.aios("audit", "verify", s_max=120.0)
    if said.returncode:
        return (said.stdout + said.stderr).strip()
    return kept.missing(stand.home.folder, stand.addresses)


def _round(stand: Stand, folder: Path, a_round: Round, result: Result, say: Callable[[str], None]) -> None:
    loading = Loading(stand, folder, CLEAN if a_round.is_clean else MIX)
    operator = Operator(stand.home.folder, stand.operations, stand.addresses.registry)
    looking = Looking(stand, folder, say)
    feeding = Feeding(stand.addresses)
    rows: list[Row] = []
    letters = kept.letters(stand.addresses)
    try:
        loading.start()
        operator.start()
        feeding.start()
        time.sleep(WARM_S)
        for number, fault in enumerate(a_round.faults):
            if number == len(a_round.faults) // 2:
                looking.start()
            rows.append(_do(stand, a_round.name, fault, say))
            time.sleep(BETWEEN_S)
        time.sleep(AFTER_S)
    finally:
        operator.close()
        feeding.close()
        loading.end()
    _note(folder, rows)
    say(f"  {loading.said()}, {operator.said()}, {feeding.sent} commands to a system; coming to rest")
    for row in rows:
        if row.is_done and row.stage in (GATEWAY.process, OPERATIONS.process):
            row.goes_on_s = _next_answer_s(folder, operator, row)
    judged = _judge(stand, folder, a_round, rows, say)
    if a_round.is_clean:
        _none_died(judged, kept.letters_since(stand.addresses, letters))
    looking.into(judged)
    _answered(judged, feeding)
    if judged.is_drained:
        _archived(judged, stand)
    result.rows += rows
    result.rounds.append(judged)
    _tell(judged, say)


def _none_died(judged: Judged, letters: Counter[str]) -> None:
    """Not one dead letter of any group: nothing that was sent was bad."""
    if letters:
        judged.violations[UNEXPECTED] = letters.total()
        judged.examples += [f"{count} more dead letters in {topic}" for topic, count in letters.items()]


def _answered(judged: Judged, feeding: Feeding) -> None:
    """Each command to an outside system has its answer, at rest."""
    try:
        without = feeding.unanswered()
    except Unavailable as error:
        judged.examples.append(f"commands cannot be judged: {error}")
        judged.is_drained = False
        return
    finally:
        feeding.end()
    if without:
        judged.violations[UNANSWERED] = len(without)
        judged.examples += [f"{UNANSWERED}: {one} ({said or 'nothing'})" for one, said in list(without.items())[:3]]


def _archived(judged: Judged, stand: Stand) -> None:
    """Each letter that was given up is in the archive, once and whole, at rest."""
    try:
        wrong = kept.unarchived(stand.home.folder / "lake", stand.addresses)
    except Unavailable as error:
        judged.examples.append(f"the archive cannot be judged: {error}")
        judged.is_drained = False
        return
    if wrong:
        judged.violations[UNARCHIVED] = len(wrong)
        judged.examples += [f"{UNARCHIVED}: {each}" for each in wrong[:3]]


def _do(stand: Stand, name: str, fault: Fault, say: Callable[[str], None]) -> Row:
    """Inject, hold, heal, and see the stage go on."""
    row = Row(round=name, fault=fault.name, stage=fault.stage, bound_s=fault.hold_s + fault.bound_s)
    watched = Watched(stand, fault.stage)
    row.load, row.began = round(os.getloadavg()[0], 1), wall_ms()
    try:
        fault.inject(stand)
        row.is_done, row.at = True, wall_ms()
        watched.begin()
        if fault.stage == LETTERS.process:  # what it had in hand may be done already, and nothing else fails for long
            faults.give_garbage(stand, fault.stage)
        time.sleep(fault.hold_s)
    except Unreached as error:
        row.trouble = str(error)
    except (AiosError, OSError, KafkaException) as error:
        row.is_done, row.trouble = True, str(error)
    try:
        if fault.hold_s:
            fault.heal(stand)
        if fault.goes_on:
            watched.again()
        if not fault.hold_s:
            fault.heal(stand)
        if row.is_done:
            row.goes_on_s = watched.seconds
    except (AiosError, OSError, KafkaException) as error:
        row.trouble = row.trouble or str(error)
    say(f"  {row.fault} × {row.stage}: {_words(row)}")
    return row


def _words(row: Row) -> str:
    if not row.is_done:
        return f"not done: {row.trouble}"
    after = "" if row.goes_on_s is None else f"goes on after {row.goes_on_s:.1f} s"
    return "; ".join(filter(None, (after, row.trouble))) or "done"


def _note(folder: Path, rows: Sequence[Row]) -> None:
    """For the verifier, which looks when each stage told something again."""
    lines = [json.dumps({"fault": row.fault, "stage": row.stage, "at": row.at}) for row in rows if row.is_done]
    (folder / verify.FAULTS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _judge(stand: Stand, folder: Path, a_round: Round, rows: Sequence[Row], say: Callable[[str], None]) -> Judged:
    judged, ended = Judged(round=a_round.name), wall_ms()
    try:
        stand.until_ready()
        judged.is_drained = _rest(stand, say)
        found = verify.check(stand.addresses, folder, drained=judged.is_drained)
    except (AiosError, OSError) as error:
        say(f"  cannot be judged: {error}")
        judged.is_drained = False
        judged.examples.append(f"cannot be judged: {error}")
        return judged
    _fill(judged, found)
    done = [row for row in rows if row.is_done]
    for row, until in zip(done, [*(row.began for row in done), ended][1:], strict=True):
        _time(row, until, found)
    return judged


def _rest(stand: Stand, say: Callable[[str], None]) -> bool:
    """Whether the system came to rest; says how long that took and who was the last."""
    began = time.monotonic()
    last: Counter[str] = Counter()

    def see(left: Counter[str]) -> None:
        if left.total():
            last.clear()
            last.update(left)

    is_drained = verify.settle(stand.addresses, DRAIN_S_MAX, see)
    who = ", ".join(f"{count} of {group}" for group, count in last.items() if count) or "none"
    say(f"  {'at' if is_drained else 'NOT at'} rest after {time.monotonic() - began:.0f} s; the last: {who}")
    return is_drained


def _time(row: Row, until: int, found: Findings) -> None:
    """What the broker's timestamps say of a fault. until: of the next one, or of the load's end."""
    stages = [topology.PLAN] if row.stage == "all" else stages_of(row.stage)
    if row.stage == "all":
        row.goes_on_s = found.silence_s(row.began, until)
    waits = (found.longest_wait_s(one.name, row.began, until) for one in stages if one.name in found.part.paces)
    row.waited_s = max(waits, default=None)


def _fill(judged: Judged, found: Findings) -> None:
    judged.accepted = found.accepted
    judged.became = dict(sorted(found.part.events.items()))
    judged.lost = found.lost
    judged.second_decisions = found.second_decisions
    judged.repeated_effects = found.repeated_effects
    judged.unexpected_letters = found.unexpected_letters
    judged.judging_s = round(found.took_s, 1)
    judged.longest_wait_s = max((pace.longest() for pace in found.part.paces.values()), default=0.0)
    judged.violations = {str(law): count for law, count in found.violations.items()}
    judged.examples = [f"{law}: {each}" for law, examples in found.examples.items() for each in examples[:3]]
    if found.unexpected_letters:
        judged.violations[UNEXPECTED] = found.unexpected_letters
        judged.examples += [f"{count} dead letters of {what}" for what, count in found.part.letters.items()]


def _next_answer_s(folder: Path, operator: Operator, row: Row) -> float | None:
    """Seconds until a caller was answered who asked after the fault; an operator: whose answer came after it."""
    answered: Iterable[int] = operator.answered
    if row.stage == GATEWAY.process:
        everything = journal.read(folder, journal.size(folder))
        answered = (one.acked for one in everything if one.via == "http" and one.at >= row.at)
    later = [at for at in answered if at >= row.at]
    return (min(later) - row.at) / 1000 if later else None


def _tell(judged: Judged, say: Callable[[str], None]) -> None:
    what = f"lost {judged.lost}, second decisions {judged.second_decisions}, repeated effects {judged.repeated_effects}"
    if judged.violations or not judged.is_drained:
        what += f"; VIOLATED {judged.violations or ''}{'' if judged.is_drained else ' did not come to rest'}"
    seen = f", {judged.seen_running} while it ran" if judged.seen_running else ""
    became = ", ".join(f"{name} {count}" for name, count in judged.became.items())
    say(f"  {judged.accepted} accepted ({became}): {what}; judged in {judged.judging_s:.0f} s{seen}")
    for each in judged.examples:
        say(f"    {each}")
