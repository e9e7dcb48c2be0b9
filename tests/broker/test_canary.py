"""A canary on a running system: plan draws its cases, workers answer by both versions, the watch takes it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from aios.schemas.codec import Codec
from aios.schemas.models import ReviewRequested
from aios.streams import topology
from aios.streams.config import KafkaSettings, RedisSettings, RegistrySettings, Settings
from aios.streams.kafka import ensure_topics
from aios.streams.topology import WATCH
from tests.broker.canaried import CANARY, STABLE, Canaried, activate_unheard_of
from tests.broker.running import begin_at_the_end, forget
from tests.broker.test_workflow_deploy import process

pytestmark = pytest.mark.broker
PERCENT = 50
UNHEARD_OF = 99
NO_LIMIT = {"error_share": 1, "latency_ratio": 1000, "override_share": 1}
SLOW = "AIOS-DRILL-SLOW=0.200 "


@pytest.fixture(scope="module")
def system(
    kafka: KafkaSettings,
    registry_url: str,
    valkey_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Settings]:
    """Plan, a worker without a model, and the watch, as processes; they see nothing of what other tests left."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    settings = Settings(
        home=tmp_path_factory.mktemp("canary") / "home",
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        redis=RedisSettings(url=valkey_url),
    )
    stage = topology.BY_NAME["classify.bulk"]
    begin_at_the_end(kafka, stage.group, stage.reads[0].name)
    forget(kafka, WATCH.group)
    with ExitStack() as processes:
        for name in ("plan", "classify", "watch", "retry"):  # by way of retry comes back who asked while one loaded
            processes.enter_context(process(settings, name, AIOS_INFERENCE__ENGINE="echo"))
        yield settings


@pytest.fixture
def there(system: Settings, codec: Codec, unique: str, tmp_path: Path) -> Canaried:
    made = Canaried(system, codec, unique)
    made.deploy(tmp_path)
    made.serve_all(STABLE)
    return made


def test_the_canary_has_its_share_by_hash_and_a_case_ends_as_it_began(there: Canaried) -> None:
    """Every new case is answered by the side that its hash draws. One that began before the canary asks the model again
    after a person has looked, and is answered by the version it began with, though its hash is the canary's.
    """
    began = [*there.admit(4, PERCENT, side=True, shown=True), *there.admit(2, PERCENT, side=False, shown=True)]
    there.asked(began)
    there.serve_a_share(PERCENT, NO_LIMIT)
    new = there.admit(40)
    decided = there.decided(new)
    drawn = {case_id: CANARY if there.is_drawn(case_id, PERCENT) else STABLE for case_id in new}
    assert {case_id: there.version_of(case_id) for case_id in new} == drawn
    assert set(drawn.values()) == {CANARY, STABLE}
    assert {one.models for one in decided.values()} == {(f"triage-encoder@{version}",) for version in (STABLE, CANARY)}
    there.decide(lambda asked: asked.suggestion)
    there.decided(began)
    answers = there.answers()
    assert {(one.model, one.step) for case_id in began for one in answers[case_id]} == {
        (f"triage-encoder@{STABLE}", "first"),
        (f"triage-encoder@{STABLE}", "again"),
    }


def test_a_canary_that_no_worker_has_goes_back(there: Canaried) -> None:
    """Its cases are answered `failed`, under its name and not that of what answers, and end; it serves nobody soon."""
    odd = replace(there, canary=UNHEARD_OF)
    activate_unheard_of(odd, PERCENT)
    fed: list[str] = []

    def feed() -> None:
        fed.extend(odd.admit(12, PERCENT, side=True))
        odd.decided(fed)

    after = odd.returned(feed)
    assert (after.version, after.canary_permille) == (STABLE, 0)
    assert odd.why_returned()["measure"] == "error_share"
    answers = odd.answers()
    said = {(one.model, one.status) for case_id in fed for one in answers[case_id]}
    assert (f"triage-encoder@{UNHEARD_OF}", "failed") in said
    assert said <= {(f"triage-encoder@{UNHEARD_OF}", "failed"), (f"triage-encoder@{STABLE}", "ok")}
    assert_it_serves_nobody(odd)


def test_a_canary_that_is_slow_goes_back(there: Canaried) -> None:
    """Cases of its share take a fifth of a second, the others none."""
    there.serve_a_share(PERCENT, {**NO_LIMIT, "latency_ratio": 2})

    def feed() -> None:
        slow = there.admit(24, PERCENT, side=True, text=f"{SLOW}My card has not arrived.")
        there.decided([*slow, *there.admit(24, PERCENT, side=False)])

    there.returned(feed)
    found = there.why_returned()
    assert (found["measure"], found["canary_version"]) == ("latency_ratio", CANARY)
    assert_it_serves_nobody(there)


def test_a_canary_that_people_contradict_goes_back(there: Canaried) -> None:
    """They take its label from none of stable's cases and change each of the canary's."""
    there.serve_a_share(PERCENT, {**NO_LIMIT, "override_share": 0.1})
    there.returned(contradicted(there))
    assert there.why_returned()["measure"] == "override_share"
    assert_it_serves_nobody(there)


def contradicted(there: Canaried) -> Callable[[], None]:
    """Feeds cases that people look at."""

    def label(asked: ReviewRequested) -> str:
        others = [choice for choice in asked.choices if choice != asked.suggestion]
        return others[0] if there.is_drawn(asked.case_id, PERCENT) else asked.suggestion

    def feed() -> None:
        cases = [*there.admit(12, PERCENT, side=True, shown=True), *there.admit(12, PERCENT, side=False, shown=True)]
        there.asked(cases)
        there.decide(label)
        there.decided(cases)

    return feed


def assert_it_serves_nobody(there: Canaried) -> None:
    """Plan follows: a case that the canary would have had is answered by the version that stayed."""
    there.until(lambda: there.version_of(there.admit(1, PERCENT, side=True)[0]) == STABLE)
