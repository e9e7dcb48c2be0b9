"""A limit that would bind nothing is refused, with the workflow and the reason."""

from __future__ import annotations

from typing import Any

import pytest

from aios.processors.cases import limited
from aios.processors.language import workflow_files
from aios.processors.language.head import Allowance
from aios.processors.language.workflow import Workflow
from aios.streams import installed
from aios.streams.limits import ALL
from aios.streams.pool_files import Price
from tests.fakes import flow
from tests.fakes.pools import SMALL, by_the_second, chained, declared

SHIPPED = installed.pools()
BUDGET: dict[str, Any] = {"per_case_max_micro": 10_000, "on_denied": {"reason": "no_money", "then": "ask"}}
ASKS = flow.workflow()
HELD = flow.workflow(budget=BUDGET)
LITTLE = Allowance.model_validate(BUDGET | {"per_case_max_micro": 100})
CHEAP = flow.workflow(budget=BUDGET | {"cheaper_max_micro": 500})
LATEST = {
    name: one
    for name in {each.workflow for each in workflow_files.shipped()}
    if (one := workflow_files.shipped().latest(name)) is not None
}


def refused(one: Workflow, policy: str = "refuse", **changed: Any) -> list[str]:
    return limited.refused(one.workflow, {one.workflow: one}, policy, changed.get("pools", SHIPPED))


def test_a_workflow_that_asks_models_and_reserves_nothing_takes_no_limit() -> None:
    """By its name, and where all of a tenant's workflows are meant; one that reserves takes it."""
    (why,) = refused(ASKS)
    assert why.startswith(f"{ASKS.reference} asks models and has no `budget:")
    assert limited.refused(ALL, LATEST | {ASKS.workflow: ASKS}, "refuse", SHIPPED) == [why]
    assert refused(HELD) == []


def test_a_workflow_that_a_limit_cannot_stop_takes_none_of_its_own() -> None:
    """It asks people and systems alone; a limit for all of the tenant's may be declared beside it."""
    kyc = LATEST["kyc.review"]
    (why,) = refused(kyc)
    assert "asks no model" in why
    assert limited.refused(ALL, {kyc.workflow: kyc, HELD.workflow: HELD}, "refuse", SHIPPED) == []


def test_a_pool_that_is_paid_by_the_second_alone_takes_no_limit() -> None:
    """What a call of it may cost nobody knows before; also where it is only asked for another one. A free one does."""
    timed = by_the_second(SHIPPED, 30)
    (why,) = refused(HELD, pools=timed)
    assert "gather" in why
    assert "engine second alone" in why
    assert "set `per_1000_prompt_tokens` in the `price` of classify." in why
    assert limited.warnings(HELD, timed) == [f"{why}: no limit can be set for it"]
    assert limited.unheld(HELD, timed) == why
    last = chained() | {name: pool for name, pool in by_the_second(chained(), 30).items() if pool.process == SMALL}
    assert f"ask {SMALL}." in refused(HELD, pools=last)[0]
    assert refused(HELD, pools=by_the_second(SHIPPED, 0)) == []
    assert limited.refused(ALL, LATEST, "refuse", timed)


def test_an_answer_that_is_written_is_bounded_by_its_own_price() -> None:
    """One that is only read is not: its tokens of output are none."""
    price = {"per_1000_prompt_tokens": 0, "per_1000_output_tokens": 600, "per_engine_second": 30}
    pools = {name: pool.model_copy(update={"price": Price(**price)}) for name, pool in SHIPPED.items()}
    triage = LATEST["document.triage"]
    (why,) = refused(triage, pools=pools)
    assert "may ask classify." in why
    others = {name: pool for name, pool in SHIPPED.items() if pool.process == "classify"}
    assert refused(triage, pools=pools | others) == []


def test_limits_hold_for_what_ships() -> None:
    """Whatever new cases take and asks a model reserves; for all of a tenant's workflows a limit can be declared."""
    assert limited.refused(ALL, LATEST, "refuse", SHIPPED) == []
    assert [why for one in LATEST.values() for why in limited.warnings(one, SHIPPED)] == []


def test_cheaper_pools_are_no_policy_where_there_are_none() -> None:
    """No amount for them, no pool that names another, or one that costs as much: each is said."""
    assert "cheaper_max_micro" in refused(HELD, "cheaper", pools=chained())[0]
    assert "fallback" in refused(CHEAP, "cheaper")[0]
    same = [one.model_copy(update={"price": SHIPPED["classify.bulk"].price}) for one in chained().values()]
    assert "costs less" in refused(CHEAP, "cheaper", pools=declared(same))[0]
    assert refused(CHEAP, "cheaper", pools=chained()) == []
    assert refused(CHEAP, "wait") == []


def test_of_all_workflows_one_that_can_is_enough_for_cheaper_pools() -> None:
    """And nothing that ships can."""
    assert limited.refused(ALL, {CHEAP.workflow: CHEAP, **LATEST}, "cheaper", chained()) == []
    assert limited.refused(ALL, LATEST, "cheaper", SHIPPED)
    assert limited.refused(ALL, {}, "cheaper", SHIPPED)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (ASKS, ["no limit can be set for it"]),
        (LATEST["document.triage"].model_copy(update={"budget": LITTLE}), ["step summarise may cost"]),
        (HELD, []),
        (LATEST["kyc.review"], []),
    ],
    ids=["no budget", "too small", "held", "asks no model"],
)
def test_a_file_is_warned_of_what_limits_would_not_do(one: Workflow, says: list[str]) -> None:
    """No budget where a model is asked, or less than one question may cost."""
    found = limited.warnings(one, SHIPPED)
    assert len(found) == len(says)
    assert all(word in why for word, why in zip(says, found, strict=True))
