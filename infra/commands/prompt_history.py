"""`aios prompt test NAME@VERSION --against history`: recorded cases decided again with another prompt or model.

Enters: the newest decided cases of the running system. Leaves: each decision that would change, whose it is, what the
answers cost then and would cost; exit code 1 where the gate is not passed. Guaranteed: nothing is written anywhere; a
case that cannot be repeated from its records is counted as that, and not as unchanged; one that can, and whose records
do not tell what it comes to with what is tried, changes to UNKNOWN; a decision that would change is held against what
is tried only where the version that answered then, asked again now, does not come to the same. So the same version
against its own history changes nothing, whatever answered then (another engine, a drill's echo, a prompt's file before
it was edited): what it does not repeat is shown as unsteady.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from aios.infra import output, recorded_cases, rehearsing
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, NOT_FOUND, fail
from aios.infra.rehearsing import Request
from aios.processors.cases import again
from aios.processors.cases.again import Decision, Need, Recorded, Tried, Unrepeatable
from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Live, Workflows
from aios.schemas import ids
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import deployments, installed, model_files, money, prompt_files
from aios.streams.errors import ConfigError
from aios.streams.wall_clock import wall_ms

ROUNDS_MAX = 10  # of asking models; each leads a case at least one step on
SHOWN_CHARS_MAX = 140  # of a text in a table
UNKNOWN = "not_known"

Answers = dict[tuple[str, str, str], InferenceCompleted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Shares of the cases that were repeated. changed_max: whose decision changes. failed_more_max: answers that fail
    beyond those that failed then.
    """

    changed_max: float
    failed_more_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One case, then and with what is tried. cost_*: of the answers that are other ones, by tokens, in micro.

    again: what the version that answered then comes to when it is asked now; as recorded, unless it was asked.
    failed_before: of the answers of then; of that version's now, where it was asked.
    """

    case: Recorded
    before: Decision
    after: Decision
    again: Decision
    cost_before: int
    cost_after: int
    failed_before: int
    failed_after: int

    @property
    def differs(self) -> bool:
        """From what was recorded, for whatever reason."""
        return self.before.text_apart != self.after.text_apart

    @property
    def changes(self) -> bool:
        return self.differs and self.again.text_apart != self.after.text_apart

    @property
    def unsteady(self) -> bool:
        return self.again.text_apart != self.before.text_apart

    @property
    def text_changes(self) -> bool:
        return self.after.decided_by != UNKNOWN and self.before.summary != self.after.summary


def tried(reference: str, model: str) -> Tried:
    """A prompt, or a model, by its name@version; a prompt on another model. Or an exit."""
    try:
        if model:
            model = model_files.card(model).model
        if reference in prompt_files.known():
            return Tried(prompt=prompt_files.load(reference).reference, model=model)
        return Tried(model=model_files.card(reference).model)
    except ConfigError as error:
        fail(f"{reference} is neither a prompt nor a model: {error}", NOT_FOUND)


def run(tried: Tried, cases_max: int, gate: Gate, *, engine: str, as_json: bool) -> int:
    """The exit code."""
    with connected() as (settings, codec), deployments.loaded(settings.kafka, codec) as tables:
        cases, gone = recorded_cases.read(settings.kafka, codec, "", cases_max)
        concerned = [one for one in cases if _concerns(one, tried)]
        if not concerned:
            what = tried.prompt or tried.model
            fail(f"none of the {len(cases)} newest decided cases has an answer of {what}", NOT_FOUND)
        compared, left_out = compare(concerned, tried, engine, Live(workflow_files.shipped(), tables))
    if not compared:
        fail(f"none of these cases can be repeated from its records: {_counted(left_out)}", NOT_FOUND)
    said = report(compared, left_out, gone, gate)
    if as_json:
        output.one(said, as_json=True)
    else:
        _show(said)
    return 0 if said["passed"] else FAILED


def compare(
    cases: Sequence[Recorded], tried: Tried, engine: str, workflows: Workflows | None = None
) -> tuple[list[Compared], dict[str, int]]:
    """Those that can be repeated as they were, and the others by why not. workflows: every version that cases began
    with; the shipped ones, where nothing is deployed. Models are asked in rounds. Or an exit.
    """
    workflows = workflows if workflows is not None else workflow_files.shipped()
    left_out: dict[str, int] = {}
    before: dict[str, Decision] = {}
    for one in cases:
        found = again.baseline(one, workflows)
        if isinstance(found, Decision):
            before[one.admitted.case_id] = found
        else:
            left_out[found.why] = left_out.get(found.why, 0) + 1
    repeated = [one for one in cases if one.admitted.case_id in before]
    results, given = _decided([(one, tried) for one in repeated], workflows, engine)
    compared = [
        _compared(one, before[one.admitted.case_id], after, given) for one, after in zip(repeated, results, strict=True)
    ]
    return _held_against(compared, tried, workflows, engine), left_out


def _decided(
    cases: Sequence[tuple[Recorded, Tried]], workflows: Workflows, engine: str
) -> tuple[list[Decision], Answers]:
    """What each comes to with what is tried on it, and the answers that were asked for that. In rounds."""
    given: Answers = {}
    for _ in range(ROUNDS_MAX):
        results = [again.decide(one, workflows, tried, given) for one, tried in cases]
        needs = [result.request for result in results if isinstance(result, Need)]
        if not needs:
            break
        given |= _asked(needs, engine)
    return [_come_to(result) for result in results], given


def _come_to(result: again.Result) -> Decision:
    """UNKNOWN, and why, where the records do not lead to a decision."""
    if isinstance(result, Decision):
        return result
    why = result.why if isinstance(result, Unrepeatable) else "it asks models without end"
    return Decision(outcome=UNKNOWN, label="", decided_by=UNKNOWN, reasons=(why,))


def _held_against(compared: Sequence[Compared], tried: Tried, workflows: Workflows, engine: str) -> list[Compared]:
    """The same; where a decision or more failures would come of what is tried, with what the version of then makes of
    the case now. A version that is here no more cannot be asked: what was recorded stands for it.
    """
    asked: dict[str, tuple[Recorded, Tried]] = {}
    held = {one.case.admitted.case_id: one for one in compared}
    for case_id, one in held.items():
        then = of_then(one.case, tried) if one.differs or one.failed_after > one.failed_before else None
        if then is None:
            continue
        if then == replace(tried, model=tried.model or then.model):
            held[case_id] = replace(one, again=one.after, failed_before=one.failed_after)
        else:
            asked[case_id] = one.case, then
    results, given = _decided(list(asked.values()), workflows, engine)
    for case_id, result in zip(asked, results, strict=True):
        failed = _failed(answer for (of, *_), answer in given.items() if of == case_id)
        held[case_id] = replace(held[case_id], again=result, failed_before=failed)
    return list(held.values())


def of_then(case: Recorded, tried: Tried) -> Tried | None:
    """What answered in the place of what is tried; None: more than one version did, or it is here no more."""
    answers = [one for one in case.answers.values() if tried.concerns(one)]
    found = {Tried(prompt=one.prompt if tried.prompt else "", model=one.model) for one in answers}
    if len(found) != 1:
        return None
    then = found.pop()
    known = then.model in model_files.known() and (not then.prompt or then.prompt in prompt_files.known())
    return then if known else None


def _asked(needs: Sequence[InferenceRequested], engine: str) -> Answers:
    """By case, step and pool, from the processes whose pools are meant."""
    found: Answers = {}
    for process in sorted({need.pool.partition(".")[0] for need in needs}):
        asked = {str(number): need for number, need in enumerate(needs) if need.pool.partition(".")[0] == process}
        _, answers = rehearsing.ask(process, [_request(name, need) for name, need in asked.items()], engine)
        at = wall_ms()
        for name, need in asked.items():
            said = answers[name]
            found[need.case_id, need.step, need.pool] = again.completed(need, said, ids.canonical(said["output"]), at)
    return found


def _request(name: str, need: InferenceRequested) -> Request:
    return Request(
        id=name, task=need.task, model=need.model, prompt=need.prompt, input=need.input, options=need.options
    )


def _concerns(case: Recorded, tried: Tried) -> bool:
    """Whether what is tried answered in it."""
    return any(tried.concerns(one) for one in case.answers.values())


def _compared(case: Recorded, before: Decision, after: Decision, given: Answers) -> Compared:
    new = [one for (case_id, *_), one in given.items() if case_id == case.admitted.case_id]
    replaced = {one.step for one in new}
    old = [one for one in case.answers.values() if one.step in replaced]
    return Compared(
        case=case,
        before=before,
        after=after,
        again=before,
        cost_before=sum(map(_cost, old)),
        cost_after=sum(map(_cost, new)),
        failed_before=_failed(old),
        failed_after=_failed(new),
    )


def _failed(answers: Iterable[InferenceCompleted]) -> int:
    return sum(one.status != "ok" for one in answers)


def _cost(answer: InferenceCompleted) -> int:
    """By its tokens alone: the engine's time is not the same outside of a pool."""
    pool = installed.pools().get(answer.pool or f"{answer.task}.{answer.lane}")
    if pool is None:
        return 0
    tokens = {"prompt_tokens": answer.prompt_tokens, "output_tokens": answer.output_tokens}
    return pool.price.of(engine_us=0, **tokens)


def report(compared: Sequence[Compared], left_out: Mapping[str, int], gone: int, gate: Gate) -> dict[str, Any]:
    """All of it, for scripts; `passed` is the gate's."""
    changed = [one for one in compared if one.changes]
    failed_more = sum(one.failed_after for one in compared) - sum(one.failed_before for one in compared)
    shares = {"changed": len(changed) / len(compared), "failed_more": failed_more / len(compared)}
    to = [one.after.decided_by for one in changed]
    return {
        "passed": shares["changed"] <= gate.changed_max and shares["failed_more"] <= gate.failed_more_max,
        "cases": len(compared),
        "changed": len(changed),
        "changed_share": shares["changed"],
        "changed_max": gate.changed_max,
        "to_a_person": to.count(again.PERSON),
        "to_not_known": to.count(UNKNOWN),
        "unsteady": [_unsteady(one) for one in compared if one.unsteady],
        "texts_changed": sum(one.text_changes for one in compared),
        "failed_more_share": shares["failed_more"],
        "failed_more_max": gate.failed_more_max,
        "cost_before_micro": sum(one.cost_before for one in compared),
        "cost_after_micro": sum(one.cost_after for one in compared),
        "left_out": dict(left_out) | ({"not in the log any more": gone} if gone else {}),
        "decisions": [_plain(one) for one in changed],
        "texts": [
            {"case_id": one.case.admitted.case_id, "before": one.before.summary, "after": one.after.summary}
            for one in compared
            if one.text_changes
        ],
    }


def _unsteady(one: Compared) -> dict[str, Any]:
    """Engines: of the answers of then, which that version does not give again."""
    return {
        "case_id": one.case.admitted.case_id,
        "before": _said(one.before),
        "again": _said(one.again),
        "reasons_before": list(one.before.reasons),
        "reasons_again": list(one.again.reasons),
        "engines_before": sorted({answer.engine for answer in one.case.answers.values()}),
    }


def _said(decision: Decision) -> str:
    if decision.decided_by == UNKNOWN:
        return UNKNOWN
    return f"{decision.outcome} {decision.label} by {decision.decided_by}".strip()


def _plain(one: Compared) -> dict[str, Any]:
    admitted = one.case.admitted
    return {
        "case_id": admitted.case_id,
        "tenant": admitted.tenant,
        "customer": str(json.loads(admitted.input).get("customer_id", "")),
        "before": _said(one.before),
        "after": _said(one.after),
        "reasons_before": list(one.before.reasons),
        "reasons_after": list(one.after.reasons),
        "cost_before_micro": one.cost_before,
        "cost_after_micro": one.cost_after,
    }


def _show(said: Mapping[str, Any]) -> None:
    columns = ("case_id", "tenant", "customer", "before", "after", "reasons_after")
    output.rows(said["decisions"], columns, as_json=False, none="No decision would change.")
    for each in said["texts"][:5]:
        output.text(f"\n{each['case_id']}\n  then: {_short(each['before'])}\n  now:  {_short(each['after'])}")
    click.echo(
        f"\n{said['changed']} of {said['cases']} decisions would change ({said['changed_share']:.1%}, the gate allows "
        f"{said['changed_max']:.1%}), {said['to_a_person']} of them to a person, {said['to_not_known']} to what "
        f"their records do not tell; {said['texts_changed']} texts differ; "
        f"{said['failed_more_share']:+.1%} answers fail (the gate allows {said['failed_more_max']:+.1%})"
    )
    if said["unsteady"]:
        engines = sorted({name for one in said["unsteady"] for name in one["engines_before"]})
        click.echo(
            f"{len(said['unsteady'])} recorded decisions do not come about again with the version that answered then "
            f"(by {', '.join(engines)}): no change of theirs that this version makes too is counted"
        )
    before, after = money.text(said["cost_before_micro"]), money.text(said["cost_after_micro"])
    click.echo(f"these answers cost {before} then and {after} now, by tokens")
    if said["left_out"]:
        click.echo(f"left out: {_counted(said['left_out'])}")
    click.echo("the gate is passed" if said["passed"] else "the gate is NOT passed")


def _counted(left_out: Mapping[str, int]) -> str:
    return "; ".join(f"{count} because {why}" for why, count in left_out.items()) or "none"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"
