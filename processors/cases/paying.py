"""What a turn does with money: the reservation before the first call, and a line of the ledger for what is used. Pure.

In: what budget answers, what an answer or a person has cost. Out: requests, lines, the purse that the case remembers.
"""

from __future__ import annotations

from dataclasses import replace

from aios.processors.accounts import CHEAPER, DEFERRED, DENIED
from aios.processors.cases import spending
from aios.processors.cases.spending import Purse
from aios.processors.cases.turn import Turn
from aios.processors.language.workflow import Review
from aios.schemas.models import BudgetAnswered, ReviewDecided, UsageSettled
from aios.streams import topics


class Paying(Turn):
    """A turn that may cost something; spending.py says what."""

    def begin(self) -> None:
        """The first step; before it the reservation, if the workflow has a most and its tenant a limit."""
        limited = self._cause.funds.limited(self._state.tenant, self._state.workflow)
        if limited and self._workflow.budget is not None:
            self.ask_budget(1)
        else:
            self.enter(self._workflow.start)

    def ask_budget(self, attempt: int) -> None:
        """Ask for the most that the case may cost. After ATTEMPTS_MAX it goes on as denied."""
        now = self._cause.now_ms
        request = spending.request(self._state, self._workflow, attempt, now, self._pools)
        if attempt > spending.ATTEMPTS_MAX:
            self.deny("waited_too_long")
            return
        purse = Purse(reservation=request.reservation_id, attempt=attempt, expires_at=request.expires_at)
        self._change(purse=spending.remembered(purse))
        self._tell(topics.BUDGET_REQUESTED, request)
        self._wait(spending.STEP, attempt, request.reservation_id, now + spending.ANSWER_MS_MAX)
        self.record(
            "budget_requested",
            status="waiting_for_budget",
            reservation_id=request.reservation_id,
            amount_micro=request.amount_micro,
        )

    def take_budget(self, purse: Purse, event: BudgetAnswered) -> None:
        """Go on with what was granted, wait for the time that was said, or go on as denied."""
        self.stop_waiting()
        if event.status == DEFERRED:
            resume_at = spending.resume_at(event, purse.attempt, self._cause.now_ms)
            self._change(purse=spending.remembered(replace(purse, resume_at=resume_at)))
            self._wait(spending.STEP, purse.attempt, purse.reservation, resume_at)
            self.record("budget_answered", outcome=event.status, reason=event.reason, resume_at=resume_at)
        elif spending.is_granted(event):
            cheaper = event.status == CHEAPER
            granted = replace(purse, reserved_micro=event.amount_micro, cheaper=cheaper, resume_at=0)
            self._change(purse=spending.remembered(granted))
            self.record("budget_answered", outcome=event.status, amount_micro=event.amount_micro)
            self.enter(self._workflow.start)
        else:
            self.deny(event.reason)

    def deny(self, reason: str) -> None:
        """There is no money for this case: it asks no model, wherever it goes."""
        allowance = self._workflow.budget
        self._change(purse=spending.remembered(spending.EMPTY) if allowance is not None else "", waiting_for="")
        self.record("budget_answered", outcome=DENIED, reason=reason)
        if allowance is not None:
            self.jump(allowance.on_denied)
        else:  # its version has no most any more
            self.enter(self._workflow.start)

    def settle(self, line: UsageSettled) -> None:
        """An answer's line of the ledger; what it costs is gone from the purse."""
        purse = spending.purse_of(self._state)
        if purse is not None and line.cost_micro:
            spent = replace(purse, spent_micro=purse.spent_micro + line.cost_micro)
            self._change(purse=spending.remembered(spent))
        self._tell(topics.USAGE_SETTLED, line)

    def settle_person(self, step: Review, event: ReviewDecided) -> None:
        """A person has worked for this case; what they cost leaves the purse as it is."""
        minute = self._cause.funds.person_minute_micro
        line = spending.person(self._state, event.task_id, step, minute, self._cause.now_ms)
        self._tell(topics.USAGE_SETTLED, line)

    def _close_purse(self) -> None:
        """Nothing more will be used: what is left of the reservation returns."""
        purse = spending.purse_of(self._state)
        if purse is not None and purse.reservation:
            self._tell(topics.USAGE_SETTLED, spending.closed(self._state, purse.reservation, self._cause.now_ms))
