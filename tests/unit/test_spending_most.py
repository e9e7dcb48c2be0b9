"""What a call may cost at most, as plan counts it before: never less than what the worker then takes of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.inference_workers.engines.engine import Generate, Generation
from aios.inference_workers.writing import Write
from aios.processors.cases import spending
from aios.schemas import ids
from aios.schemas.models import InferenceRequested
from aios.streams import installed, prompt_files
from aios.streams.prompt_files import MERGES, TEXT, Prompt
from tests.fakes.engine import FakeEngine

POOL = installed.pools()["generate.bulk"]
WRONG = "unusable"


class Wordy(FakeEngine):
    """Writes as much as it may. chances: whether each answer can be used, again and again."""

    def __init__(self, chances: Sequence[bool]) -> None:
        super().__init__()
        self._usable: Iterator[bool] = iter(chances)

    async def generate(self, request: Generate) -> Generation:
        said = ("word " * request.tokens_max)[: 4 * request.tokens_max]
        if not next(self._usable, False):
            said = f"{WRONG} {said}"
        return Generation(
            text=said,
            finish_reason="length",
            prompt_tokens=sum(-(-len(content) // 4) + 5 for _, content in request.messages),
            output_tokens=request.tokens_max,
        )


def prompt(words_max: int, overlap: int, chunks_max: int, merge: str, tokens_max: int) -> Prompt:
    alone = merge == "beginning"
    return Prompt.model_validate(
        {
            "name": "short",
            "version": 1,
            "model": "summariser",
            "task": "generate",
            "contract": TEXT,
            "sampling": {"tokens_max": tokens_max},
            "input": {
                "words_max": words_max,
                "overlap_words": min(overlap, words_max // 2),
                "chunks_max": 1 if alone else max(2, chunks_max),
                "merge": merge,
            },
            "guard": {"never": [WRONG]},
            "messages": [
                {"role": "system", "content": "You say in one sentence what a letter wants."},
                {"role": "user", "content": "Letter: {input} What does it want?"},
            ],
        }
    )


def request(text: str, tokens_max: int | None) -> InferenceRequested:
    said: dict[str, Any] = {} if tokens_max is None else {"tokens_max": tokens_max}
    return InferenceRequested(
        request_id="r",
        case_id="c",
        tenant="demo",
        workflow="w",
        step="s",
        attempt=1,
        task="generate",
        model="summariser@1",
        prompt="short@1",
        input=text,
        options=ids.canonical(said),
        lane="bulk",
        deadline_at=0,
        requested_at=0,
    )


@given(
    words=st.lists(st.text("abcdefghij", min_size=1, max_size=12), max_size=120),
    sizes=st.tuples(st.integers(2, 40), st.integers(0, 20), st.integers(1, 6)),
    merge=st.sampled_from(MERGES[TEXT]),
    tokens=st.tuples(st.integers(1, 60), st.none() | st.integers(1, 60)),
    chances=st.lists(st.booleans(), max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_what_a_worker_takes_is_within_what_plan_counted(
    words: list[str],
    sizes: tuple[int, int, int],
    merge: str,
    tokens: tuple[int, int | None],
    chances: list[bool],
) -> None:
    """Pieces, overlaps, a last reading of what was joined, and each answer that is asked for once more."""
    chosen, text = prompt(*sizes, merge, tokens[0]), " ".join(words)
    asked = None if tokens[1] is None else min(tokens)  # type: ignore[type-var]
    with patch.object(prompt_files, "load", lambda _reference: chosen):
        took = asyncio.run(Write(Wordy(chances), "summariser@1").answer(request(text, asked), 0))
    cost = POOL.price.of(prompt_tokens=took.prompt_tokens, output_tokens=took.output_tokens, engine_us=0)
    assert cost <= spending.most(POOL, text, chosen, asked)


def test_the_shipped_summary_is_counted_with_its_frame_its_answer_and_its_repair() -> None:
    """A letter of 1,500 characters: more than its text alone, whatever the step says of its length; within reason."""
    letter, chosen = "word " * 300, prompt_files.load(f"summary@{prompt_files.newest('summary')}")
    text_alone = spending.most(POOL, letter)
    assert spending.most(POOL, letter, chosen) == spending.most(POOL, letter, chosen, 10**6)
    assert 3 * text_alone < spending.most(POOL, letter, chosen) < 8 * text_alone
    assert spending.most(POOL, letter, chosen, 8) < spending.most(POOL, letter, chosen)


def test_a_step_that_asks_for_no_or_less_than_no_tokens_lowers_nothing() -> None:
    """Its worker refuses it; what plan counts is no credit."""
    chosen = prompt(20, 0, 1, "beginning", 40)
    assert spending.most(POOL, "a b", chosen, -5) == spending.most(POOL, "a b", chosen, 0)
    assert spending.most(POOL, "a b", chosen, 0) == spending.most(POOL, "a b", chosen)
