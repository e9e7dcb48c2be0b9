"""How a turn asks a model: which pool, when, again, another one, and what it makes of the answer. Pure.

In: a step that asks, a case that was called, an answer, silence. Out: commands, a timer with each; a wait for a turn.
Guaranteed: a case stands with one pool at a time, and whichever way it goes on gives its place there back
(turnstile.py); of each pool it asks at most attempts_max times in a row; a pool that cannot answer (failed, late,
silent, retired, too dear, of a model, prompt or price that nobody knows, or no turn came) is followed by the one that
its file names, and after the last it has failed; a command that is given up is called off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from aios.processors.cases import guarding, spending, turnstile
from aios.processors.cases.guarding import Verdict
from aios.processors.cases.paying import Paying
from aios.processors.cases.spending import Purse
from aios.processors.cases.turn import REASON_CHARS_MAX, TOO_LARGE, bytes_of
from aios.processors.cases.turnstile import Full
from aios.processors.language import answers, policy_files
from aios.processors.language.questions import Question
from aios.schemas import ids
from aios.schemas.models import InferenceCancelled, InferenceCompleted, InferenceRequested
from aios.streams import prompt_files, topics
from aios.streams.errors import ConfigError
from aios.streams.expression import ExpressionError
from aios.streams.pool_files import PERSON, Pool
from aios.streams.slots import PRIORITY_MAX

JUDGED_MAX = 32  # texts whose verdicts a process remembers
POOLS_MAX = 256  # whose topics it does
OK, FAILED, EXPIRED = "ok", "failed", "expired"  # of an answer; the last: it came to nothing, for its time was over
CROWDED = "too_many_wait"
ANSWER_GRACE_MS = 15_000  # after a deadline, for the worker's own `expired` to arrive before the timer


class Asking(Paying):
    """A turn that may ask a model."""

    def leave_pool(self) -> None:
        """Whichever way the case goes on: its place at the pool or system, or its wait for one, is given up."""
        state = self._state
        if state.pool:
            self._turnstile.leave(state.tenant, state.pool, state.turn)
            self._change(pool="", turn=0, asked=0, fallback_of="")
            self._break_promise()

    def call_off(self, reason: str) -> None:
        """Tell the pool that nobody waits for the case's command any more, if one is out."""
        state = self._state
        if not state.pool or state.turn or not state.waiting_for or turnstile.is_system(state.pool):
            return
        cancelled = InferenceCancelled(
            request_id=state.waiting_for,
            case_id=state.case_id,
            tenant=state.tenant,
            pool=state.pool,
            reason=reason,
            cancelled_at=self._cause.now_ms,
        )
        self._tell(topics.inference_cancelled(state.pool), cancelled)

    def take_answer(self, step: Question, event: InferenceCompleted) -> None:
        """Go on with a model's answer; with what is none, to another pool."""
        evidence: dict[str, Any] = {
            "pool": self._state.pool,
            "fallback_of": self._state.fallback_of,
            "model": event.model,
            "prompt": event.prompt,
            "attempt": event.attempt,
            "queue_ms": event.queue_ms,
            "compute_ms": event.compute_ms,
        }
        self.settle(spending.used(self._state, event, self._cause.now_ms))
        said, failure = self._read(step, event)
        if said is None:
            self.record("answered", **evidence, outcome=event.status, reason=failure)
            self._ask_another(step, heals=event.status == EXPIRED)
            return
        trusted = self._trusted(step, said)
        if trusted is None:
            self.record("answered", **evidence, outcome=event.status, reason="refused_by_policy")
            self._ask_another(step, heals=False)
            return
        said = trusted
        self._change(models=_with(self._state.models, event.model), prompts=_with(self._state.prompts, event.prompt))
        self.record("answered", **evidence, **answers.shown(said), outcome=event.status)
        self.came(step, said)

    def _read(self, step: Question, event: InferenceCompleted) -> tuple[dict[str, Any] | None, str]:
        """The answer's fields, or None and why they cannot be used."""
        if event.status != OK:
            return None, event.reason[:REASON_CHARS_MAX] or event.status
        if bytes_of(event.output) > self.room():
            return None, TOO_LARGE
        try:
            said = answers.read(step.task, event.output_contract, event.output, event.prompt)
        except ValueError:
            return None, "answer_breaks_contract"
        if step.labels is not None and said["label"] not in step.labels.evaluate(self.view()):
            return None, "label_unknown"
        return said, ""

    def ask_model(self, name: str, step: Question) -> None:
        """Ask the step's pool: now, or when it is the case's turn. What a policy refuses is not asked at all."""
        if step.guards.before and self._guarded(name, step) is None:
            self.failed(step, heals=False)
            return
        self.ask_first(name, step, 1)

    def ask_first(self, name: str, step: Question, attempt: int) -> None:
        """The first pool in line for the case: the step's own, or where money is short the one that follows it."""
        pool, purse = self._pool(f"{step.pool}.{step.lane or self._state.lane}"), spending.purse_of(self._state)
        if purse is not None and purse.cheaper and pool.fallback != PERSON:
            cheaper = self._pool(f"{pool.fallback}.{pool.lane}")
            self._ask(name, step, cheaper, attempt=attempt, fallback_of=pool.pool)
        else:
            self._ask(name, step, pool, attempt=attempt)

    def _guarded(self, name: str, step: Question) -> str | None:
        """The text as its policies let it go on; None: one of them refuses it. Each verdict is on the audit."""
        said = self._text(step)
        for reference in step.guards.before:
            verdict = _judged(reference, said)
            self.record("guarded", step=name, **verdict.evidence())
            if verdict.refused:
                return None
            self.remember_noted(verdict.noted)
            said = verdict.said
        return said

    def _text(self, step: Question) -> str:
        text: str = step.input.evaluate(self.view())[: step.input_chars_max]
        return text

    def _masked(self, step: Question) -> str:
        """What the model is given: the text without what its policies mask."""
        said = self._text(step)
        for reference in step.guards.before:
            said = _judged(reference, said).said
        return said

    def _trusted(self, step: Question, said: dict[str, Any]) -> dict[str, Any] | None:
        """The answer as its policies let it go on; None: one of them refuses it. Each verdict is on the audit."""
        source = self._masked(step) if step.guards.after else ""
        for reference in step.guards.after:
            verdict = guarding.judge(policy_files.load(reference), said, source)
            self.record("guarded", **verdict.evidence())
            if verdict.refused:
                return None
            said = verdict.said
        return said

    def take_turn(self, step: Question) -> None:
        """The case was called, and holds a place at the pool: its command goes out."""
        self.stop_waiting()
        self._change(turn=0)
        self._send_next(step, self._state.attempt)

    def ask_again(self, step: Question) -> None:
        """Nobody answered in time: the same pool is asked again, as often as the step says, then another one.

        Where no turn came in time another is asked at once.
        """
        state = self._state
        self.call_off("timed_out")
        if state.pool and not state.turn and state.asked < step.attempts_max:
            self._send_next(step, state.attempt + 1)
        elif not state.pool and state.attempt < step.attempts_max:  # it asked when cases did not remember the pool
            pool = self._pool(f"{step.pool}.{step.lane or state.lane}")
            self._ask(state.step, step, pool, attempt=state.attempt + 1)
        else:
            self._ask_another(step, heals=True)

    def _send_next(self, step: Question, attempt: int) -> None:
        """The next command to the pool where the case stands, unless meanwhile its model was retired or its reservation
        has run out.
        """
        state, pool = self._state, self._pool(self._state.pool)
        if why_not := self._unserved(step, pool) or self._unpaid(step, pool):
            self._not_asked(step, pool, why_not)
            self._ask_another(step, heals=False)
            return
        self._send(state.step, step, attempt)

    def _not_asked(self, step: Question, pool: Pool, reason: str) -> None:
        model, prompt = self._model_of(step, pool), step.prompt or ""
        self.record("not_asked", pool=pool.pool, model=model, prompt=prompt, reason=reason)

    def _ask_another(self, step: Question, *, heals: bool) -> None:
        """The pool cannot answer. heals: now."""
        before = self._pools.get(self._state.pool)
        self.leave_pool()
        self._go_on_from(before, step, heals=heals)

    def _go_on_from(self, pool: Pool | None, step: Question, *, heals: bool) -> None:
        """Ask the pool that this one's file names instead; after the last it has failed, as that one has."""
        if pool is None or pool.fallback == PERSON:
            self.failed(step, heals=heals)
            return
        state, following = self._state, self._pool(f"{pool.fallback}.{pool.lane}")
        self._ask(state.step, step, following, attempt=state.attempt + 1, fallback_of=pool.pool)

    def _ask(self, name: str, step: Question, pool: Pool, *, attempt: int, fallback_of: str = "") -> None:
        """Take a place at the pool and send the command, or wait for a place, for at most as long as for answers."""
        self._change(step=name, attempt=attempt)
        turn_id, ordinal = f"turn/{name}/{attempt}", 0
        why_not = self._unserved(step, pool) or self._unpaid(step, pool)
        if not why_not:
            try:
                ordinal = self._turnstile.enter(self._state.tenant, pool.pool, self._state.case_id, turn_id)
            except Full:
                why_not = CROWDED
                self._break_promise()
        if why_not:
            self._not_asked(step, pool, why_not)
            self._go_on_from(pool, step, heals=why_not == CROWDED)
            return
        self._change(pool=pool.pool, turn=ordinal, asked=0, fallback_of=fallback_of)
        if not ordinal:
            self._send(name, step, attempt)
            return
        until = self._cause.now_ms + step.attempts_max * step.deadline_s.ms(pool.lane)
        self._wait(name, attempt, turn_id, until)
        self.record(
            "queued", status=step.status or "", pool=pool.pool, attempt=attempt, until=until, fallback_of=fallback_of
        )

    def _pool(self, name: str) -> Pool:
        """Raises ConfigError: an open case asks a pool that this deploy no longer has."""
        try:
            return self._pools[name]
        except KeyError as error:
            raise ConfigError(f"open cases ask {name}, which this deploy lacks; put {name}.yaml back") from error

    def _unpaid(self, step: Question, pool: Pool) -> str:
        """Why the purse does not pay for the call; empty: it does, and a branch's call is promised it.

        A prompt that is not here yet serves all the same (active.py), but has no most that could be paid: a pool does
        not bound what is read by it, nor in how many pieces.
        """
        purse = spending.purse_of(self._state)
        if purse is None:
            return ""
        view, path = self.view(), self._state.step
        tokens = int(step.options["tokens_max"].evaluate(view)) if "tokens_max" in step.options else None
        _, *references = self._served(step, pool)
        try:
            prompt = prompt_files.load(references[0]) if references else None
        except ConfigError:
            return "unknown_prompt"
        micro = spending.most(pool, self._text(step), prompt, tokens)
        if not spending.affords(purse, path, micro, self._cause.now_ms + step.deadline_s.ms(pool.lane)):
            return "budget_spent"
        if "/" in path:
            self._promise(purse, {**purse.promised, path: micro})
        return ""

    def _promise(self, purse: Purse, promised: Mapping[str, int]) -> None:
        if promised != purse.promised:
            self._change(purse=spending.remembered(replace(purse, promised=promised)))

    def _break_promise(self) -> None:
        """The branch's call is answered, or given up."""
        purse, path = spending.purse_of(self._state), self._state.step
        if purse is not None:
            self._promise(purse, {branch: micro for branch, micro in purse.promised.items() if branch != path})

    def _served(self, step: Question, pool: Pool) -> tuple[str, ...]:
        """Model and prompt with the versions that serve this case; an empty one is retired."""
        model = self._stamped("model", self._model_of(step, pool))
        return (model, self._stamped("prompt", step.prompt)) if step.prompt else (model,)

    def _unserved(self, step: Question, pool: Pool) -> str:
        """Why nobody serves it here; empty: somebody does. A model or prompt that nobody knows stops no other case.

        One that is retired is asked no more, neither in the version that a case began with nor in one that the workflow
        or the pool names.
        """
        model = self._model_of(step, pool)
        try:
            self._stamped("model", model)
        except ConfigError:
            return "unknown_model"
        try:
            served = self._served(step, pool)
        except ConfigError:
            return "unknown_prompt"
        return "" if all(served) and not self._is_retired(model) else "retired"

    def _is_retired(self, model: str) -> bool:
        """A model is retired in all its versions. One that this deploy has no more is left to the workers."""
        name, _, _ = model.partition("@")
        try:
            return not self._cause.versions.model(name, self._state.case_id)
        except ConfigError:
            return False

    def _model_of(self, step: Question, pool: Pool) -> str:
        """As the step names it; another pool than the step's own is asked for its own."""
        return step.model if pool.process == step.pool else pool.model

    def _send(self, name: str, step: Question, attempt: int) -> None:
        """The command to the pool where the case holds a place; a timer tells when nobody answers."""
        now, view, pool = self._cause.now_ms, self.view(), self._pool(self._state.pool)
        model, *prompt = self._served(step, pool)
        state = self._change(asked=self._state.asked + 1)
        request = InferenceRequested(
            request_id=ids.command_id(state.case_id, name, attempt),
            case_id=state.case_id,
            tenant=state.tenant,
            workflow=state.workflow,
            step=name,
            attempt=attempt,
            task=step.task,
            model=model,
            prompt="".join(prompt),
            input=self._masked(step),
            options=ids.canonical({key: option.evaluate(view) for key, option in step.options.items()}),
            lane=pool.lane,
            priority=_urgency(step, view),
            deadline_at=now + step.deadline_s.ms(pool.lane),
            requested_at=now,
            pool=pool.pool,
            fallback_of=state.fallback_of,
        )
        urgency: dict[str, Any] = {"priority": request.priority} if request.priority else {}
        self._tell(_commands(pool.pool), request)
        self._wait(name, attempt, request.request_id, request.deadline_at + ANSWER_GRACE_MS)
        self.record(
            "requested",
            status=step.status or "",
            request_id=request.request_id,
            attempt=attempt,
            pool=request.pool,
            fallback_of=request.fallback_of,
            model=request.model,
            prompt=request.prompt,
            deadline_at=request.deadline_at,
            **urgency,
        )

    def _stamped(self, kind: str, name: str) -> str:
        """A name with the version that serves this case, remembered from its first use on; empty: it is retired."""
        if not name or "@" in name:
            return name
        prefix = f"{kind}/{name}@"
        known = next((stamp for stamp in self._state.stamps if stamp.startswith(prefix)), "")
        if known:
            return known.removeprefix(f"{kind}/")
        versions, case_id = self._cause.versions, self._state.case_id
        found = versions.model(name, case_id) if kind == "model" else versions.prompt(name)
        if found:
            self._change(stamps=(*self._state.stamps, f"{kind}/{found}"))
        return found


@lru_cache(maxsize=JUDGED_MAX)
def _judged(reference: str, text: str) -> Verdict:
    """What a policy says of a text. One turn asks twice: to judge it, and to send what is left of it."""
    return guarding.judge(policy_files.load(reference), text)


_commands = lru_cache(maxsize=POOLS_MAX)(topics.inference_requested)


def _urgency(step: Question, view: Mapping[str, Any]) -> int:
    """Of its command, lower is earlier; what is beyond the bounds is as good as they are. Raises ExpressionError."""
    if step.priority is None:
        return 0
    found = step.priority.evaluate(view)
    if not isinstance(found, int) or isinstance(found, bool):
        says = f"`{step.priority.source}` gives {type(found).__name__} where a whole number is needed"
        raise ExpressionError(says)
    return max(-PRIORITY_MAX, min(found, PRIORITY_MAX))


def _with(seen: tuple[str, ...], name: str) -> tuple[str, ...]:
    return seen if not name or name in seen else (*seen, name)
