"""Whether a tenant's limit can hold what cases of a workflow cost. Pure.

In: workflows, pools, what an operator wants to declare. Out: sentences that say why it would bind nothing; none: it
holds. Guaranteed where none is said: a case of it reserves its most before its first call (spending.py), every pool
that it may come to has a price that says before a call what it may cost, and it is asked of cheaper pools where the
limit's policy says so and that is a way for it.

Rejected: the engine's time up to the deadline as what a call may cost (it is hours long where nobody waits: no shipped
reservation would pay for one call); a most that is made up where the file has none (its price would be that of the
longest way through all steps, so that a few cases took a whole limit; and nobody has said where a case goes that is
denied).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aios.processors.accounts import CHEAPER
from aios.processors.cases import spending
from aios.processors.language.questions import Question
from aios.processors.language.workflow import Workflow
from aios.processors.language.workflow_files import questions
from aios.streams import installed, pool_files, prompt_files
from aios.streams.limits import ALL
from aios.streams.pool_files import Lane, Pool

BLOCK = "`budget: {per_case_max_micro: …, on_denied: {reason: …, then: STEP}}`"


def unheld(workflow: Workflow, pools: Mapping[str, Pool] | None = None) -> str:
    """Why no limit would stop its models; empty: it asks none, or one would.

    pools: by name, where they are not those of this deploy.
    """
    if next(questions(workflow), None) is None:
        return ""
    if workflow.budget is None:
        return f"{workflow.reference} asks models and has no {BLOCK} in its file, so that its cases reserve nothing"
    return next(_paid_by_time(workflow, pools or installed.pools()), "")


def _paid_by_time(workflow: Workflow, pools: Mapping[str, Pool]) -> Iterator[str]:
    """Pools that it may come to whose calls cost something, and nothing that is known before."""
    for name, ask in questions(workflow):
        written = int(ask.prompt is not None)
        said = "`per_1000_prompt_tokens` or `per_1000_output_tokens`" if written else "`per_1000_prompt_tokens`"
        for one in (one for first in _asked(ask, pools) for one in pool_files.chain(pools, first.pool)):
            known = one.price.of(prompt_tokens=1, output_tokens=written, engine_us=0)
            if one.price.per_engine_second and not known:
                yield (
                    f"{workflow.reference}: step {name} may ask {one.pool}, which is paid by the engine second alone: "
                    f"what a call may cost is not known before it; set {said} in the `price` of {one.pool}.yaml"
                )


def refused(wanted: str, serving: Mapping[str, Workflow], policy: str, pools: Mapping[str, Pool]) -> list[str]:
    """Why a limit for this workflow (or ALL of the tenant's) may not be declared; empty: it will hold.

    serving: by name, the version that new cases take. wanted: one of these, or ALL.
    """
    meant = list(serving.values()) if wanted == ALL else [serving[wanted]]
    why_not = [why for one in meant if (why := unheld(one, pools))]
    if wanted != ALL and meant[0].budget is None and not why_not:
        why_not = [f"{meant[0].reference} asks no model and reserves nothing: a limit would stop none of its cases"]
    if policy == CHEAPER and not why_not:
        stuck = [why for one in meant if one.budget is not None and (why := _not_cheaper(one, pools))]
        if len(stuck) == sum(one.budget is not None for one in meant):
            why_not = [f"--over {CHEAPER} would only refuse: {why}" for why in stuck or ["no workflow has a `budget:`"]]
    return why_not


def _not_cheaper(workflow: Workflow, pools: Mapping[str, Pool]) -> str:
    """Why its cases are never asked of cheaper pools; empty: they are."""
    if workflow.budget is None or not workflow.budget.cheaper_max_micro:
        return f"{workflow.reference} has no `cheaper_max_micro` in its `budget:`"
    if not any(_cheaper(pool, pools) for _, ask in questions(workflow) for pool in _asked(ask, pools)):
        return f"no pool that {workflow.reference} asks has a `fallback` that costs less"
    return ""


def _cheaper(pool: Pool, pools: Mapping[str, Pool]) -> bool:
    """Whether the pool that its file names next costs less, whatever is asked."""
    following = pool_files.chain(pools, pool.pool)[1:2]
    prices = [tuple(one.price.model_dump().values()) for one in (pool, *following)]
    return prices[-1] != prices[0] and all(less <= more for more, less in zip(prices[0], prices[-1], strict=True))


def warnings(workflow: Workflow, pools: Mapping[str, Pool]) -> list[str]:
    """What its file should say, for limits to do what they mean: of one that may run all the same."""
    if why := unheld(workflow, pools):
        return [f"{why}: no limit can be set for it"]
    return list(_too_dear(workflow, pools))


def _too_dear(workflow: Workflow, pools: Mapping[str, Pool]) -> Iterator[str]:
    if workflow.budget is None:
        return
    most = workflow.budget.per_case_max_micro
    for name, ask in questions(workflow):
        prompt = None if ask.prompt is None else prompt_files.load(_with_version(ask.prompt))
        text = "word " * (ask.input_chars_max // 5)
        dearest = max(spending.most(pool, text, prompt) for pool in _asked(ask, pools))
        if dearest > most:
            yield (
                f"{workflow.reference}: step {name} may cost {dearest} of a long text, and `per_case_max_micro` is "
                f"{most}: where a limit holds, such a text is asked of no model"
            )


def _asked(ask: Question, pools: Mapping[str, Pool]) -> list[Pool]:
    return [pools[f"{ask.pool}.{lane}"] for lane in ([ask.lane] if ask.lane is not None else Lane)]


def _with_version(prompt: str) -> str:
    return prompt if "@" in prompt else f"{prompt}@{prompt_files.newest(prompt)}"
