"""What `aios bench inference` asks: the same requests of the models by themselves and of the pools.

Enters: which process's models, and which numbers. Leaves: requests, each with a text that no other has, so that
neither an answer's cache nor a prompt's is what is measured; the beginning that all prompts share stays shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from aios.inference_workers.tasks import CLASSIFIER, WRITER
from aios.inference_workers.training import splits
from aios.schemas import ids
from aios.schemas.models import InferenceRequested
from aios.streams.wall_clock import wall_ms

DEADLINE_S = 3600
TENANTS = 4  # whose requests they are, in turn
TOKENS_MAX = 24  # of an answer: a short sentence
MODELS = {"classify": CLASSIFIER, "generate": WRITER}
ASKS = {
    "classify": ("messages", {"head": "messages"}, ""),
    "generate": ("letters", {"tokens_max": TOKENS_MAX}, "summary@1"),
}


def requests(process: str, first: int, lane: str = "bulk") -> Iterator[InferenceRequested]:
    """Without end: the training's texts again and again, numbered from `first`."""
    _, options, prompt = ASKS[process]
    written = texts(process)
    now_ms = wall_ms()
    for number in count(first):
        name = f"{process}-{lane}-{number}"
        yield InferenceRequested(
            request_id=name,
            case_id=name,
            tenant=f"bench-{number % TENANTS}",
            workflow="bench",
            step="bench",
            attempt=1,
            task=process,
            model=MODELS[process],
            prompt=prompt,
            input=f"{number}. {written[number % len(written)]}",
            options=ids.canonical(options),
            lane=lane,
            deadline_at=now_ms + DEADLINE_S * 1000,
            requested_at=now_ms,
            pool=f"{process}.{lane}",
        )


def texts(process: str) -> list[str]:
    """What customers wrote, of the training's own."""
    kind, _, _ = ASKS[process]
    return [row["text"] for row in splits.read(splits.TRAINING / f"{kind}.csv")]
