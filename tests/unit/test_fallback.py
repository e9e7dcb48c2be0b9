"""A chain of pools that write: where the first cannot answer the second does, by the same prompt, if it has passed."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from aios.inference_workers import answering, evaluation
from aios.inference_workers.answering import Answering
from aios.inference_workers.engines.engine import Generate, Generation, RequestRefused
from aios.inference_workers.worker import Served
from aios.schemas import ids
from aios.schemas.models import AuditRecorded, CaseDecided, InferenceCompleted, InferenceRequested
from aios.streams import installed, model_files, prompt_files
from aios.streams.pool_files import Pool
from aios.streams.prompt_files import Recorded
from aios.streams.record import Record
from tests.fakes import admissions
from tests.fakes.answers import answer_to
from tests.fakes.engine import FakeEngine, shelf_of
from tests.fakes.pools import declared
from tests.unit.test_flow import NOW_MS, Partition

LETTER = {
    "text": "You took the fee of $14 twice. Give one of the fees back to me.",
    "channel": "letter",
    "subject": "",
    "customer_id": "",
}
SUMMARY = "The customer took the fee twice and wants one of the fees back."


@pytest.fixture(autouse=True)
def _second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another model, and a prompt that is for it too; only the first has passed by it."""
    models, prompts = tmp_path / "models", tmp_path / "prompts"
    shutil.copytree(model_files.FOLDERS[0] / "summariser", models / "summariser")
    shutil.copytree(model_files.FOLDERS[0] / "summariser", models / "second")
    shutil.copytree(model_files.FOLDERS[0] / "triage-encoder" / "2", models / "triage-encoder" / "2")
    card = models / "second" / "1" / "card.yaml"
    card.write_text(card.read_text("utf-8").replace("summariser@1", "second@1", 1), encoding="utf-8")
    shutil.copytree(prompt_files.FOLDER, prompts)
    prompt = prompts / "summary" / "2.md"
    named = "model: summariser\n"
    prompt.write_text(prompt.read_text("utf-8").replace(named, f"{named}also_for: [second]\n", 1), encoding="utf-8")
    monkeypatch.setattr(model_files, "FOLDERS", (models,))
    monkeypatch.setattr(prompt_files, "FOLDER", prompts)
    monkeypatch.setattr(answering, "wall_ms", lambda: NOW_MS)
    caches = (model_files.card, model_files.versions)
    for cached in caches:
        cached.cache_clear()
    record("summariser@1")
    yield
    for cached in caches:
        cached.cache_clear()


def record(model: str, *, passed: bool = True) -> None:
    """What a model made of the prompt, beside it."""
    found = Recorded(
        prompt="summary@2",
        prompt_digest=prompt_files.load("summary@2").digest,
        set_digest=evaluation.load("summary").digest,
        model=model,
        engine="fake 1",
        passed=passed,
        kinds={},
    )
    prompt_files.record_of("summary@2", model).write_text(json.dumps(found.model_dump()), encoding="utf-8")


class Writer(FakeEngine):
    """Writes the summary, or takes nothing."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__()
        self._refuses = refuses

    async def generate(self, request: Generate) -> Generation:
        await self._do("write", request.priority)
        if self._refuses:
            raise RequestRefused("it is too long for this model")
        return Generation(text=SUMMARY, finish_reason="stop", prompt_tokens=5, output_tokens=3)


def pools() -> Mapping[str, Pool]:
    """Those that ship, and a second writer with a model of its own, which is asked where the first cannot answer."""
    shipped = installed.pools().values()
    writers = [pool for pool in shipped if pool.process == "generate"]
    return declared(
        [
            *(pool for pool in shipped if pool.process != "generate"),
            *(pool.model_copy(update={"fallback": "second"}) for pool in writers),
            *(pool.model_copy(update={"pool": f"second.{pool.lane}", "model": "second"}) for pool in writers),
        ]
    )


def worked(pool: Pool, engine: Writer, request: InferenceRequested) -> InferenceCompleted:
    """What a worker of this pool makes of a command."""
    answering = Answering(pool, Served({pool.lane: pool}).task(shelf_of(engine)), engine)
    return asyncio.run(answering.answer(Record("t", 0, 0, NOW_MS, None, b""), request))


def asked_to_write(world: Partition) -> InferenceRequested:
    """The case's first question to a writer, its letter labelled."""
    world.feed(admissions.admitted(LETTER, key="1", lane="bulk", at=NOW_MS))
    (labels,) = world.out()
    said = {"label": "card", "confidence": 0.97, "out_of_scope": 0.02}
    world.feed(answer_to(labels, output=ids.canonical(said), completed_at=NOW_MS, pool=labels.pool))
    (request,) = world.out()
    return request


def test_the_second_writer_of_a_chain_answers_by_the_same_prompt() -> None:
    """Asked for its own model, by a worker of its pool; command, answer and audit say whom it stands in for."""
    record("second@1")
    world, first, second = Partition(pools=pools()), Writer(refuses=True), Writer()
    request = asked_to_write(world)
    assert (request.pool, request.model, request.fallback_of) == ("generate.bulk", "summariser@1", "")
    world.feed(worked(world.pools["generate.bulk"], first, request))
    (request,) = world.out()
    assert (request.pool, request.model, request.prompt) == ("second.bulk", "second@1", "summary@2")
    answer = worked(world.pools["second.bulk"], second, request)
    assert (answer.reason, answer.model, answer.fallback_of) == ("", "second@1", "generate.bulk")
    world.feed(answer)
    (decided,) = world.of(CaseDecided)
    assert (decided.summary, len(first.asked), len(second.asked)) == (SUMMARY, 1, 1)
    told = [json.loads(one.detail) for one in world.of(AuditRecorded) if one.transition == "answered"]
    assert [(one["pool"], one["fallback_of"]) for one in told[1:]] == [
        ("generate.bulk", ""),
        ("second.bulk", "generate.bulk"),
    ]


@pytest.mark.parametrize("failed", [False, True])
def test_a_writer_that_has_not_passed_the_prompt_stands_in_for_nobody(failed: bool) -> None:
    """Not for a token: what the first model made of it says nothing of another one's. The case goes on without."""
    if failed:
        record("second@1", passed=False)
    world, second = Partition(pools=pools()), Writer()
    world.feed(worked(world.pools["generate.bulk"], Writer(refuses=True), asked_to_write(world)))
    (request,) = world.out()
    answer = worked(world.pools["second.bulk"], second, request)
    why = "has not passed its evaluation on second@1" if failed else "test summary@2 --model second@1 --record"
    assert (answer.status, why in answer.reason, second.asked) == ("failed", True, [])
    world.feed(answer)
    (decided,) = world.of(CaseDecided)
    assert (decided.summary, decided.reasons[-1]) == ("", "no_summary")
