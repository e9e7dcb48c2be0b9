"""`aios prompt test --against history` with the models that ship: recorded cases answered again by the real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner

from aios.infra import rehearsing
from aios.infra.cli import aios
from aios.infra.commands import prompt_history
from aios.infra.output import FAILED
from aios.schemas.codec import Codec
from aios.streams import pool_files
from aios.streams.config import KafkaSettings, Settings
from aios.streams.kafka import ensure_topics
from aios.streams.topics import AUDIT_RECORDED
from tests.broker.test_prompt_records import INPUTS, ran_on
from tests.unit.test_again import Ran

pytestmark = [
    pytest.mark.engine,
    pytest.mark.broker,
    pytest.mark.skipif(not rehearsing.PYTHON.exists(), reason="no .venv-inference: run `make setup`"),
]


class History:
    """A system in which some cases were decided."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self.kafka = kafka
        self.codec = codec

    @contextmanager
    def connected(self) -> Iterator[tuple[Settings, Codec]]:
        yield Settings(kafka=self.kafka), self.codec

    def tried(self, what: str, *more: str) -> tuple[int, dict[str, Any]]:
        """Exit code, and what the command says."""
        command = ["prompt", "test", what, "--against", "history", "--engine", "vllm", "--json", *more]
        said = CliRunner().invoke(aios, command)
        assert said.stdout, said.output
        return said.exit_code, json.loads(said.stdout)


@pytest.fixture
def history(kafka: KafkaSettings, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> History:
    """Two letters and a message: all decided by policy, by answers that no model gave."""
    asyncio.run(ensure_topics(kafka, (*INPUTS.values(), AUDIT_RECORDED)))
    made = History(kafka, codec)
    monkeypatch.setattr(prompt_history, "connected", made.connected)
    monkeypatch.setenv("AIOS_INFERENCE__LOAD_S_MAX", "900")  # of the process that answers; others use the cores too
    for ran in (Ran(key="one"), Ran(key="two"), Ran("message", key="three")):
        ran_on(kafka, codec, ran)
    return made


def test_recorded_cases_are_decided_again_by_the_model_that_ships(history: History) -> None:
    """It reads a fee that was taken twice as what it is and not as what was recorded: it is said whose decisions
    change, to what, and at which cost, and the gate is not passed.
    """
    code, told = history.tried("triage-encoder@1")
    assert (code, told["passed"], told["cases"], told["left_out"]) == (FAILED, False, 3, {})
    assert told["changed"] == len(told["decisions"]) > 0
    for one in told["decisions"]:
        assert (one["tenant"], one["customer"][:2]) == ("demo", "C-")
        assert one["before"] != one["after"]
        assert one["cost_before_micro"] == price("classify.bulk", 100, 10)
        assert one["cost_after_micro"] > 0


def price(pool: str, prompt_tokens: int, output_tokens: int) -> int:
    return pool_files.shipped()[pool].price.of(prompt_tokens=prompt_tokens, output_tokens=output_tokens, engine_us=0)
