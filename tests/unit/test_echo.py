"""The engine without a model: sure of what it says, the same every time, and never taken for a model."""

from __future__ import annotations

import asyncio
import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.inference_workers import classify
from aios.inference_workers.engines import echo
from aios.inference_workers.engines.echo import EchoEngine
from aios.inference_workers.engines.engine import Embed, Generate, Structured
from aios.inference_workers.tasks import CLASSIFIER, heads_of
from aios.streams import shapes

DATA = Path(__file__).parents[2] / "infra" / "demo" / "data"
SURE = {"letters": (0.66, 0.50), "messages": (0.83, 0.60)}  # confidence_min, out_of_scope_max of document.triage


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> EchoEngine:
    return EchoEngine(echo.heads(), tmp_path_factory.mktemp("echo"))


def texts() -> Iterator[str]:
    for kind in SURE:
        with (DATA / f"{kind}.csv").open(encoding="utf-8", newline="") as file:
            yield from (row["text"] for row in csv.DictReader(file))
    yield from (f"text number {number}" for number in range(800))


def test_every_text_is_decided_by_either_head(engine: EchoEngine) -> None:
    """Letters in several chunks too: confidence and scope on the deciding side of the workflow's thresholds."""
    heads = {name: head for name, head in classify.load(heads_of(CLASSIFIER)).items() if name in SURE}
    labels: dict[str, set[str]] = {name: set() for name in heads}
    for text in texts():
        pieces = classify.chunks(text)
        vector = classify.pooled([asyncio.run(engine.embed(Embed(text=piece))).vector for piece in pieces])
        for name, head in heads.items():
            if name != "letters" and len(pieces) > 1:
                continue  # nothing else has a second chunk
            said = head.classify(vector)
            labels[name].add(said["label"])
            confidence_min, scope_max = SURE[name]
            assert said["confidence"] > confidence_min, (name, text)
            assert said["out_of_scope"] < scope_max, (name, text)
    for name, head in heads.items():
        assert len(labels[name]) > 0.9 * len(head.labels)


def test_the_same_text_gives_the_same_answer_and_the_version_says_that_no_model_gave_it(engine: EchoEngine) -> None:
    """An answer that is stamped with it cannot be mistaken."""
    first, second = (asyncio.run(engine.embed(Embed(text="my card"))) for _ in range(2))
    assert first == second
    written = asyncio.run(engine.generate(Generate(messages=(("user", "one two three"),), tokens_max=2)))
    assert written.text == "Echo: one two."
    assert "no model" in engine.version


def test_a_text_may_ask_to_be_answered_late(engine: EchoEngine) -> None:
    """As late as it says."""
    began = time.monotonic()
    asyncio.run(engine.embed(Embed(text="AIOS-DRILL-SLOW=0.2 where is my card")))
    assert time.monotonic() - began >= 0.2


def test_a_shape_and_a_choice_are_kept_to(engine: EchoEngine) -> None:
    """So that drills run with structured prompts; the same for the same text."""
    shape = shapes.complete({"type": "object", "properties": {"a": {"type": "string", "maxLength": 4}}})
    held = Structured(schema=json.dumps(shape))
    chosen = Structured(choices=("card", "loan"))
    for text in ("one", "two", "one"):
        asked = Generate(messages=[("user", text)], tokens_max=9, structured=held)
        assert shapes.problems(shape, json.loads(asyncio.run(engine.generate(asked)).text)) == []
        asked = Generate(messages=[("user", text)], tokens_max=9, structured=chosen)
        assert asyncio.run(engine.generate(asked)).text in chosen.choices


def test_a_text_that_fails_does_so_once_whoever_is_asked(tmp_path: Path) -> None:
    """A process that starts anew knows that it has failed: a drill of kills does not make a dead letter of it."""
    asked = Embed(text=f"a letter that holds {echo.FAIL}")
    with pytest.raises(RuntimeError, match="fails at first"):
        asyncio.run(EchoEngine(echo.heads(), tmp_path / "run").embed(asked))
    answer = asyncio.run(EchoEngine(echo.heads(), tmp_path / "run").embed(asked))
    assert len(answer.vector)
