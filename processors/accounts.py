"""The books of one tenant: what is reserved, spent and left of each limit. Pure.

In: a request for a reservation or a settlement, the reservation it names as remembered, the accounts and limits that
touch it, the log's time. Out: the same, changed, and an answer. Guaranteed, under any order and repetition of these:

- reserved + spent of an account never grows beyond its hard limit (a limit that is lowered below stops all growth);
- what a case uses inside its reservation is always paid; what it uses beyond, or without one, is paid while the limit
  has room, and else booked as `over`: told, not charged;
- the same settlement of an open reservation counts once, and so does one that no open reservation holds, within the
  UNHELD_MAX last ones of its account: the retry stage may return a line twice; one of a reservation that ended is
  never charged, though what was paid inside it is told as `over` if it comes again;
- a reservation ends once, closed or expired, and what is left of it returns.

A window's beginning sets spent to 0 and keeps what is reserved: it will be spent in the window that settles it. Two
limits may hold for a case, its workflow's and `*`, all of the tenant's together; it needs room in both.

Rejected: floating windows (an hour's end could not be told to who waits for it); charging without a reservation first
(two cases that each see the last unit would both spend it).
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aios.schemas.models import (
    AccountRemembered,
    BudgetAnswered,
    BudgetDeclared,
    BudgetRequested,
    ReservationRemembered,
    UsageSettled,
)
from aios.streams.durations import DAY_MS, HOUR_MS

GRANTED, CHEAPER, DEFERRED, DENIED = "granted", "cheaper", "deferred", "denied"
CLOSED, EXPIRED, WASTED = "closed", "expired", "wasted"  # kinds of settlements beside inference and person

SETTLED_CHARS = 16  # of a settlement's id, to know it again within its reservation or account
SETTLED_MAX = 256  # of one reservation; more than that of one case is a workflow nobody wrote
UNHELD_MAX = 128  # of one account, the last ones outside its reservations: a repeat comes seconds or minutes later
RETURN_MS = 30_000  # a case that waits asks again after this while its room is reserved by others, and not spent

Accounts = Mapping[str, AccountRemembered]
Limits = Mapping[str, BudgetDeclared]


def bounds(window: str, now_ms: int) -> tuple[int, int]:
    """Begin and end of the window that holds now, UTC, Unix ms. `total` has neither: (0, 0)."""
    if window == "total":
        return 0, 0
    if window == "hour":
        begin = now_ms - now_ms % HOUR_MS
        return begin, begin + HOUR_MS
    begin = now_ms - now_ms % DAY_MS
    if window == "day":
        return begin, begin + DAY_MS
    at = time.gmtime(now_ms / 1000)
    first, days = calendar.timegm((at.tm_year, at.tm_mon, 1, 0, 0, 0)), calendar.monthrange(at.tm_year, at.tm_mon)[1]
    return first * 1000, (first + days * 86_400) * 1000


def current(account: AccountRemembered | None, limit: BudgetDeclared | None, now_ms: int) -> AccountRemembered:
    """The account as it stands now: a new one, or the same in the window that holds now."""
    window = limit.window if limit is not None else account.window if account is not None else "total"
    begin, end = bounds(window, now_ms)
    if account is None:
        return AccountRemembered(
            window=window,
            window_from=begin,
            window_to=end,
            reserved_micro=0,
            spent_micro=0,
            wasted_micro=0,
            over_micro=0,
            denied=0,
            soft_reached=False,
        )
    if 0 < account.window_to <= now_ms:
        account = replace(account, spent_micro=0, wasted_micro=0, over_micro=0, denied=0, soft_reached=False)
    elif account.window == window:
        return account
    # declared anew: what was spent in an old window that has not ended stays spent until the new one ends
    return replace(account, window=window, window_from=begin, window_to=end)


@dataclass(frozen=True, slots=True)
class Booked:
    """held: the reservation now; None: there is none (any more). accounts: those that changed, or might have."""

    held: ReservationRemembered | None
    accounts: Accounts
    answer: BudgetAnswered | None = None


def reserve(
    asked: BudgetRequested, held: ReservationRemembered | None, accounts: Accounts, limits: Limits, now_ms: int
) -> Booked:
    """Answer a request. held: the reservation of this id, if it is open already: it is answered as before.

    accounts, limits: by name, those of the tenant that touch the case (streams/limits.py), if they exist.
    """
    if held is not None:
        return Booked(held, {}, _answer(asked, held.status, held.amount_micro, now_ms))
    if now_ms >= asked.expires_at:
        return Booked(None, {}, _answer(asked, DENIED, 0, now_ms, reason="asked_too_late"))
    standing = {name: current(accounts.get(name), limit, now_ms) for name, limit in limits.items()}
    room = {name: limits[name].hard_micro - _taken(account) for name, account in standing.items()}
    least = min(room.values(), default=asked.amount_micro)
    if asked.amount_micro <= least:
        return _grant(_answer(asked, GRANTED, asked.amount_micro, now_ms), asked, standing, limits)
    tight = [limits[name] for name in limits if room[name] < asked.amount_micro]
    if 0 < asked.cheaper_micro <= least and any(limit.policy == CHEAPER for limit in tight):
        answer = _answer(asked, CHEAPER, asked.cheaper_micro, now_ms, reason="budget_low")
        return _grant(answer, asked, standing, limits)
    for limit in tight:
        standing[limit.budget] = replace(standing[limit.budget], denied=standing[limit.budget].denied + 1)
    resume_at = _resume_at(asked, tight, standing, now_ms)
    if resume_at:
        return Booked(
            None, standing, _answer(asked, DEFERRED, 0, now_ms, reason="budget_exhausted", resume_at=resume_at)
        )
    larger = any(limit.hard_micro < asked.amount_micro for limit in tight)
    reason = "larger_than_budget" if larger else "budget_exhausted"
    return Booked(None, standing, _answer(asked, DENIED, 0, now_ms, reason=reason))


def settle(
    event: UsageSettled, held: ReservationRemembered | None, accounts: Accounts, limits: Limits, now_ms: int
) -> Booked:
    """Book what was used, or the end of a reservation. held: the reservation it names, if it is open."""
    names = {*limits, *(held.budgets if held is not None else ())}
    standing = {name: current(accounts.get(name), limits.get(name), now_ms) for name in sorted(names)}
    if event.kind in (CLOSED, EXPIRED):
        return _end(held, standing)
    if event.kind == WASTED or held is None:
        standing = _new_to(standing, event)
    if event.kind == WASTED:
        changed = {
            name: replace(account, wasted_micro=account.wasted_micro + event.cost_micro)
            for name, account in standing.items()
        }
        return Booked(held, changed)
    if held is None and event.reservation_id:  # it ended before: nothing of it is charged any more
        over = {name: replace(one, over_micro=one.over_micro + event.cost_micro) for name, one in standing.items()}
        return Booked(None, over)
    return _charge(event, held, standing, limits)


def _new_to(standing: Accounts, event: UsageSettled) -> dict[str, AccountRemembered]:
    """The accounts that have not booked this line, which know it from now on. One that costs nothing needs no room."""
    short = event.settlement_id[:SETTLED_CHARS]
    return {
        name: replace(one, settled=(*one.settled, short)[-UNHELD_MAX:]) if event.cost_micro else one
        for name, one in standing.items()
        if short not in one.settled
    }


def _charge(event: UsageSettled, held: ReservationRemembered | None, standing: Accounts, limits: Limits) -> Booked:
    short = event.settlement_id[:SETTLED_CHARS]
    if held is not None and short in held.settled:
        return Booked(held, {})
    inside = min(event.cost_micro, held.left_micro) if held is not None else 0
    holding = held.budgets if held is not None else ()
    changed = {
        name: _book(account, limits.get(name), inside if name in holding else 0, event.cost_micro)
        for name, account in standing.items()
    }
    if held is not None:
        settled = (*held.settled, short)[-SETTLED_MAX:]
        held = replace(held, left_micro=held.left_micro - inside, settled=settled)
    return Booked(held, changed)


def _book(account: AccountRemembered, limit: BudgetDeclared | None, inside: int, cost: int) -> AccountRemembered:
    """inside: what of the cost was reserved in this account."""
    beyond = cost - inside
    room = beyond if limit is None else max(0, limit.hard_micro - _taken(account))
    spent = account.spent_micro + inside + min(beyond, room)
    return replace(
        account,
        reserved_micro=account.reserved_micro - inside,
        spent_micro=spent,
        over_micro=account.over_micro + beyond - min(beyond, room),
        soft_reached=limit is not None and 0 < limit.soft_micro < spent,
    )


def _end(held: ReservationRemembered | None, standing: Accounts) -> Booked:
    if held is None:
        return Booked(None, {})
    returned = {
        name: replace(standing[name], reserved_micro=standing[name].reserved_micro - held.left_micro)
        for name in held.budgets
    }
    return Booked(None, returned)


def _grant(answer: BudgetAnswered, asked: BudgetRequested, standing: Accounts, limits: Limits) -> Booked:
    amount = answer.amount_micro
    held = ReservationRemembered(
        status=answer.status,
        amount_micro=amount,
        left_micro=amount,
        budgets=tuple(sorted(limits)),
        settled=(),
        expires_at=asked.expires_at,
    )
    reserved = {name: replace(one, reserved_micro=one.reserved_micro + amount) for name, one in standing.items()}
    return Booked(held, reserved, answer)


def _resume_at(asked: BudgetRequested, tight: list[BudgetDeclared], standing: Accounts, now_ms: int) -> int:
    """When the case may ask again; 0: never, it is denied. What is only reserved may return before the window ends."""
    wanted = asked.amount_micro
    if any(limit.policy != "wait" or limit.hard_micro < wanted for limit in tight):
        return 0
    resume: list[int] = []
    for limit in tight:
        account = standing[limit.budget]
        returns = limit.hard_micro - account.spent_micro >= wanted
        if not returns and not account.window_to:
            return 0
        soon = now_ms + RETURN_MS
        resume.append(min(soon, account.window_to or soon) if returns else account.window_to)
    return max(resume, default=0)


def _answer(
    asked: BudgetRequested, status: str, amount: int, now_ms: int, *, reason: str = "", resume_at: int = 0
) -> BudgetAnswered:
    return BudgetAnswered(
        reservation_id=asked.reservation_id,
        case_id=asked.case_id,
        tenant=asked.tenant,
        workflow=asked.workflow,
        status=status,
        reason=reason,
        amount_micro=amount,
        resume_at=resume_at,
        answered_at=now_ms,
    )


def _taken(account: AccountRemembered) -> int:
    return account.reserved_micro + account.spent_micro
