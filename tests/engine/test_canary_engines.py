"""A canary of the classifier whose versions are both served by vLLM, in one worker."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aios.infra import rehearsing
from aios.schemas.codec import Codec
from aios.streams import topology
from aios.streams.config import KafkaSettings, RedisSettings, RegistrySettings, Settings
from aios.streams.kafka import ensure_topics
from aios.streams.topology import WATCH
from tests.broker import canaried, running
from tests.broker.canaried import CANARY, STABLE, Canaried
from tests.broker.running import begin_at_the_end, forget
from tests.broker.test_canary import NO_LIMIT, PERCENT, assert_it_serves_nobody, contradicted
from tests.broker.test_workflow_deploy import process

pytestmark = pytest.mark.broker
PATIENCE_S = 600  # two engines load, where others use the cores too
TEXT = "You took this month's mortgage payment twice."


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, valkey_url: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        redis=RedisSettings(url=valkey_url),
    )


@pytest.fixture
def there(
    settings: Settings, codec: Codec, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Canaried]:
    """Plan, the watch, and a worker as it ships; every case is answered by the older version."""
    monkeypatch.setattr(canaried, "WAIT_S_MAX", float(PATIENCE_S))
    monkeypatch.setattr(running, "READY_S_MAX", float(PATIENCE_S))
    asyncio.run(ensure_topics(settings.kafka, topology.all_topics().values()))
    stage = topology.BY_NAME["classify.bulk"]
    begin_at_the_end(settings.kafka, stage.group, stage.reads[0].name)
    forget(settings.kafka, WATCH.group)
    with ExitStack() as processes:
        for name in ("plan", "watch", "retry"):  # by way of retry comes back who asked the canary while it loaded
            processes.enter_context(process(settings, name))
        patient = {"AIOS_INFERENCE__ENGINE": "vllm", "AIOS_INFERENCE__LOAD_S_MAX": str(PATIENCE_S)}
        processes.enter_context(process(settings, "classify", 0, str(rehearsing.PYTHON), **patient))
        made = Canaried(settings, codec, unique)
        made.deploy(tmp_path)
        made.serve_all(STABLE)
        yield made


def test_each_version_answers_its_share_with_its_own_weights_and_a_bad_canary_goes_back(there: Canaried) -> None:
    """By the hash of the case; the two say different things of one text; people change each label of the canary's and
    none of the others', and it serves nobody any more.
    """
    there.serve_a_share(PERCENT, {**NO_LIMIT, "override_share": 0.1})
    new = there.admit(24, text=TEXT)
    there.decided(new)
    drawn = {case_id: CANARY if there.is_drawn(case_id, PERCENT) else STABLE for case_id in new}
    assert {case_id: there.version_of(case_id) for case_id in new} == drawn
    assert set(drawn.values()) == {CANARY, STABLE}
    said: dict[str, set[float]] = defaultdict(set)
    answers = there.answers()
    for one in (answer for case_id in new for answer in answers[case_id]):
        assert (one.status, one.engine.partition(" ")[0]) == ("ok", "vllm")
        said[one.model].add(json.loads(one.output)["confidence"])
    assert not set.intersection(*said.values())
    there.returned(contradicted(there))
    assert there.why_returned()["measure"] == "override_share"
    assert_it_serves_nobody(there)
