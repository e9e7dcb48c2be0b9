"""What a case may spend and has spent: plan's side of the budget. Pure.

In: a case, its workflow, what was used. Out: requests for a reservation, lines of the ledger (usage.settled.v1), and
the case's purse, which it remembers while it is open. Guaranteed:

- a case asks for a reservation before its first call if its workflow names a maximum and a limit is declared for its
  tenant; else it asks for none, and waits for nothing;
- inside a reservation no call begins that may pass what is left of it beside the calls of other branches that are
  out (most() says what is counted, and what cannot be), or end after it; where it was denied none begins at all;
- every answer that plan is told is one line, under an id derived from what was used: an accepted one under its
  request, any other as wasted under its own place in the log; so neither a replay nor a second answer is charged twice;
- a reservation that a case holds, or is granted and does not wait for, is closed when the case ends, or at once.

A person's time is what the workflow assumes (`review.minutes`): it is not measured.
Rejected: the purse as fields of the case of their own (a million decided cases would carry them).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from aios.processors.accounts import CHEAPER, CLOSED, GRANTED, RETURN_MS, WASTED
from aios.processors.language.questions import Call, Question
from aios.processors.language.workflow import WAIT_S_MAX, Kind, Map, Parallel, Review, Wait, Workflow, again_of
from aios.schemas import ids
from aios.schemas.models import BudgetAnswered, BudgetRequested, CaseRemembered, InferenceCompleted, UsageSettled
from aios.streams import money, pool_files
from aios.streams.durations import HOUR_MS, MINUTE_MS
from aios.streams.pool_files import Pool
from aios.streams.prompt_files import PLACEHOLDER, Prompt

STEP = "$budget"  # where a case waits for its reservation; no step of a workflow can have this name
ANSWER_MS_MAX = HOUR_MS  # budget is away for longer: the case goes on as denied
ATTEMPTS_MAX = 2_000  # a case that waits for room asks this often, every rest or window; then it is denied
REST_MS_MAX = 10 * MINUTE_MS  # between two askings; the first is accounts.RETURN_MS, each further one twice as long
LOOK_MS_MAX = HOUR_MS  # and none is longer: meanwhile the limit may be raised or lifted
SPARE_MS = HOUR_MS  # a reservation outlives the longest way through its workflow by this
LONGEST_MS_MAX = (
    2_000 * WAIT_S_MAX
)  # and no reservation is held for longer; a case that lasts longer asks no model then
BYTES_PER_TOKEN = 3  # of a text that is not counted yet; models here see 4 to 5
MESSAGE_TOKENS = 8  # around a message: who speaks, and its end
WRONG_TOKENS_MAX = 400  # of an answer that is no answer, as the model is shown it again, and what is said about it


def _never(_tenant: str, _workflow: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Funds:
    """What plan knows of money beside the case. limited(tenant, workflow): whether a limit is declared for it."""

    limited: Callable[[str, str], bool] = _never
    person_minute_micro: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """reservation: empty for a denied case, which can afford nothing. reserved_micro: what is granted; 0 while the case
    waits for it. resume_at: it is deferred until then, Unix ms.

    promised: by the path of a branch, what its call may cost while it is out.
    """

    reservation: str
    attempt: int
    expires_at: int
    reserved_micro: int = 0
    spent_micro: int = 0
    cheaper: bool = False
    resume_at: int = 0
    promised: Mapping[str, int] = field(default_factory=dict)


EMPTY = Purse(reservation="", attempt=0, expires_at=0)  # of a denied case


def purse_of(state: CaseRemembered) -> Purse | None:
    """What the case remembers; None: it asked for nothing."""
    return Purse(**json.loads(state.purse)) if state.purse else None


def remembered(purse: Purse) -> str:
    return ids.canonical({name: value for name, value in asdict(purse).items() if name != "promised" or value})


def request(
    state: CaseRemembered, workflow: Workflow, attempt: int, now_ms: int, pools: Mapping[str, Pool]
) -> BudgetRequested:
    """Ask for the most that the case may cost. attempt: 1-based; another one is another reservation."""
    allowance = workflow.budget
    return BudgetRequested(
        reservation_id=ids.command_id(state.case_id, STEP, attempt),
        case_id=state.case_id,
        tenant=state.tenant,
        workflow=state.workflow,
        amount_micro=allowance.per_case_max_micro if allowance else 0,
        cheaper_micro=allowance.cheaper_max_micro if allowance else 0,
        requested_at=now_ms,
        expires_at=now_ms + longest_ms(workflow, state.lane, pools),
    )


def resume_at(answer: BudgetAnswered, attempt: int, now_ms: int) -> int:
    """When a deferred case asks again: not before budget says, and the more seldom the longer it waits; but once in
    LOOK_MS_MAX, since what budget says is of the limit as it is declared now.
    """
    rested = max(answer.resume_at, now_ms + min(RETURN_MS << (attempt - 1), REST_MS_MAX))
    return min(rested, now_ms + LOOK_MS_MAX)


def longest_ms(workflow: Workflow, lane: str, pools: Mapping[str, Pool]) -> int:
    """No case lasts longer once its reservation is asked for: every wait of every step, one after the other.

    At most LONGEST_MS_MAX, since circles of long waits add up to centuries.
    """
    waits = SPARE_MS
    for name, step in workflow.steps.items():
        visits = _visits_max(workflow) if name in workflow.circles else 1
        waits += visits * _with_again_ms(step.kind, _longest_ms(step.kind, lane, pools))
    return min(waits, LONGEST_MS_MAX)


def _with_again_ms(kind: Kind, once_ms: int) -> int:
    """Each time that it may be asked again, and the rests before."""
    again = again_of(kind)
    return once_ms if again is None else once_ms * (1 + again.times) + 1_000 * sum(again.rests_s)


def _longest_ms(kind: Kind | Question | Call, lane: str, pools: Mapping[str, Pool]) -> int:
    match kind:
        case Question():
            pool = f"{kind.pool}.{kind.lane or lane}"
            tries = len(pool_files.chain(pools, pool)) * kind.attempts_max
            return 2 * tries * kind.deadline_s.ms(kind.lane or lane)  # for the turn to ask, and for the answer
        case Call():
            return 2 * kind.attempts_max * kind.deadline_s.ms(kind.lane or lane)
        case Parallel():
            return max(_longest_ms(branch.asks, lane, pools) for branch in kind.of.values())
        case Map():
            return _longest_ms(kind.each.asks, lane, pools)
        case Review():
            return kind.expires_h * HOUR_MS * (1 if kind.people is None else 2)
        case Wait():
            return 1_000 * (kind.for_s or WAIT_S_MAX)
    return 0


def _visits_max(workflow: Workflow) -> int:
    """Of a step in a circle: each of its waits leads on rounds_max times."""
    waits = (step.kind for step in workflow.steps.values())
    return 1 + sum(wait.rounds_max for wait in waits if isinstance(wait, Wait) and wait.event is not None)


def most(pool: Pool, text: str, prompt: Prompt | None = None, tokens_max: int | None = None) -> int:
    """What a call may cost, micro: every piece of the text that is read, answered at full length, and asked once more.

    tokens_max: of one answer, where the step asks for fewer than its prompt allows. Not known before is how the model
    cuts this text into tokens; of most texts BYTES_PER_TOKEN makes more than there are. Nor is the engine's time, which
    the deadline alone bounds: priced whole, six hours of bulk would be more than a hundred shipped reservations. So the
    least of it counts: where anything is paid, a spent reservation asks no more. limited.py says of a pool that is paid
    by the second alone that it takes no limit.
    """
    read, written = _tokens_of(text), 0
    if prompt is not None:
        longest = prompt.sampling.tokens_max  # whoever asks for more, or for none, is refused before a token is spent
        read, written = _generated(prompt, text, tokens_max if tokens_max and 0 < tokens_max < longest else longest)
    return pool.price.of(prompt_tokens=read, output_tokens=written, engine_us=1)


def _generated(prompt: Prompt, text: str, tokens_max: int) -> tuple[int, int]:
    """Tokens read and written: inference_workers/writing.py says how a text is read, and when it is asked again."""
    bounds, words = prompt.input, text.split()
    onward = bounds.words_max - bounds.overlap_words
    pieces = max(1, min(bounds.chunks_max, -(-(len(words) - bounds.overlap_words) // onward)))
    piecewise = _tokens_of(" ".join(words[: pieces * onward + bounds.overlap_words]))
    if pieces > 1:  # what overlaps is read twice
        piecewise = -(-piecewise * bounds.words_max // onward)
    asked = pieces
    if pieces > 1 and bounds.merge == "again":
        asked, piecewise = pieces + 1, piecewise + pieces * tokens_max
    contents = [message.content for message in prompt.messages]
    frame = sum(_tokens_of(content) + MESSAGE_TOKENS for content in contents)
    read = asked * frame + piecewise * sum(content.count(PLACEHOLDER) for content in contents)
    again = read + asked * (min(tokens_max, WRONG_TOKENS_MAX) + WRONG_TOKENS_MAX)
    return read + again, 2 * asked * tokens_max


def _tokens_of(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def affords(purse: Purse, path: str, micro: int, ends_at: int) -> bool:
    """Whether a call may begin: what it may cost is left beside what the other branches' calls may, and it ends before
    the reservation does.
    """
    others = sum(each for branch, each in purse.promised.items() if branch != path)
    return purse.spent_micro + others + micro <= purse.reserved_micro and ends_at <= purse.expires_at


def is_granted(answer: BudgetAnswered) -> bool:
    return answer.status in (GRANTED, CHEAPER)


def used(state: CaseRemembered, event: InferenceCompleted, now_ms: int) -> UsageSettled:
    """An answer that the case took, whatever it says: a failed one has cost as well."""
    purse = purse_of(state)
    return _line(
        event, ids.derive("settled", event.request_id), purse.reservation if purse else "", "inference", now_ms
    )


def wasted(event: InferenceCompleted, place: tuple[str, int, int], now_ms: int) -> UsageSettled:
    """An answer that no case waits for: it came twice, or too late. place: of its record."""
    topic, partition, offset = place
    settlement_id = ids.derive("wasted", event.request_id, topic, str(partition), str(offset))
    return _line(event, settlement_id, "", WASTED, now_ms)


def person(state: CaseRemembered, task_id: str, step: Review, minute_micro: int, now_ms: int) -> UsageSettled:
    """A person's decision that the case took, at the time the workflow assumes for it.

    It names no reservation: that is for models alone, and a person is paid beside it while the limit has room.
    """
    person_ms = round(step.minutes * MINUTE_MS)
    return UsageSettled(
        settlement_id=ids.derive("settled", task_id),
        reservation_id="",
        case_id=state.case_id,
        tenant=state.tenant,
        workflow=state.workflow,
        kind="person",
        person_ms=person_ms,
        cost_micro=money.person_micro(minute_micro, person_ms),
        settled_at=now_ms,
    )


def closed(case: CaseRemembered | BudgetAnswered, reservation: str, now_ms: int) -> UsageSettled:
    """Nothing more will come of a reservation: what is left of it returns."""
    return UsageSettled(
        settlement_id=ids.derive("settled", reservation, CLOSED),
        reservation_id=reservation,
        case_id=case.case_id,
        tenant=case.tenant,
        workflow=case.workflow,
        kind=CLOSED,
        cost_micro=0,
        settled_at=now_ms,
    )


def _line(event: InferenceCompleted, settlement_id: str, reservation: str, kind: str, now_ms: int) -> UsageSettled:
    return UsageSettled(
        settlement_id=settlement_id,
        reservation_id=reservation,
        case_id=event.case_id,
        tenant=event.tenant,
        workflow=event.workflow,
        kind=kind,
        pool=event.pool,
        model=event.model,
        prompt=event.prompt,
        prompt_tokens=event.prompt_tokens,
        output_tokens=event.output_tokens,
        engine_us=event.engine_us,
        cost_micro=event.cost_micro,
        settled_at=now_ms,
    )
