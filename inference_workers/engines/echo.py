"""An engine without a model: answers at once, the same for the same text, and says in its version that it is none.

In: what any engine is asked. Out: for an embedding, a vector that the shipped heads are sure of, its labels chosen by
a hash of the text; for a conversation, the first words of its last message. Guaranteed: no model is loaded and
nothing is computed, so that everything around the engine can be measured and broken at the rate of the machine;
`version` is stamped on every answer, so that none of them can be taken for a model's. A text that holds
`AIOS-DRILL-SLOW=<seconds>` is answered that much later, at most SLOW_S_MAX; one that holds `AIOS-DRILL-FAIL` is not
answered the first time that any echo of the home is asked, for a reason that nobody foresaw: it goes through a retry
tier. An empty file in the home's `run/echo` says that it was; a restarted process would fail it again otherwise.
For drills, soaks and fault tests (`inference.engine: echo`); it decides nothing about anybody.
Rejected: answers at a task's level (what stands between a task and its engine would not be part of the drill).
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from aios.inference_workers import classify
from aios.inference_workers.classify import Head
from aios.inference_workers.engines.engine import Embed, Embedding, Generate, Generation, Structured
from aios.streams import shapes
from aios.streams.errors import EngineDead

VERSION = "echo (no model)"
SLOW = re.compile(r"AIOS-DRILL-SLOW=(\d{1,4}(?:\.\d{1,3})?)")
SLOW_S_MAX = 900.0
FAIL = "AIOS-DRILL-FAIL"
WORDS_SHOWN = 12
MARGIN = 13.0  # of the chosen label over the others, in logits, before the vector is made as long as a real one
MARGIN_OF_FEW = 6.0  # the same for a head of few labels, which needs less
FEW = 20
AIMED_AT = ("letters", "messages")  # a vector for every head at once would be sure of none
AIMED_MAX = 2  # heads of a model that has none of these
SCOPE_LOGIT = -2.0  # of belonging nowhere
TRIES_MAX = 12  # labels that a text is tried with until the heads are sure of it
SURE, NOWHERE = 0.9, 0.4  # a confidence above, an out-of-scope score below


class EchoEngine:
    """See the module. heads: what its vectors are made for. failed: the folder that remembers texts that failed."""

    def __init__(self, heads: Sequence[Head], failed: Path) -> None:
        self._aims = [_Aim(head) for head in heads]
        rows = [row for aim in self._aims for row in aim.rows]
        self._inverse = np.linalg.pinv(np.asarray(rows, dtype=np.float64))
        self._closed = asyncio.Event()
        self._failed = failed

    @property
    def version(self) -> str:
        return VERSION

    @property
    def tokens_max(self) -> int:
        return 0

    async def start(self) -> None:
        """Nothing to load."""

    async def embed(self, request: Embed) -> Embedding:
        await self._as_bad_as(request.text)
        vector = self._vector(zlib.crc32(request.text.encode()))
        return Embedding(vector=vector.tolist(), prompt_tokens=len(request.text.split()))

    def _vector(self, number: int) -> npt.NDArray[np.float64]:
        """What every head is sure of: not each pair of labels has such a vector of length 1, the next one is tried."""
        for each in range(TRIES_MAX):
            vector = self._inverse @ np.concatenate([aim.wanted(number + each) for aim in self._aims])
            vector /= np.linalg.norm(vector)
            if all(aim.is_sure(vector) for aim in self._aims):
                break
        return vector

    async def generate(self, request: Generate) -> Generation:
        said = request.messages[-1][1]
        await self._as_bad_as(said)
        words = said.split()
        shown = words[: min(WORDS_SHOWN, request.tokens_max)]
        text = f"Echo: {' '.join(shown)}."
        if request.structured is not None:
            text = _held_to(request.structured, said)
        return Generation(text=text, finish_reason="stop", prompt_tokens=len(words), output_tokens=len(shown))

    async def watch(self) -> NoReturn:
        await self._closed.wait()
        raise EngineDead("the echo was closed")

    async def close(self) -> None:
        self._closed.set()

    async def _as_bad_as(self, text: str) -> None:
        asked = SLOW.search(text)
        if asked:
            await asyncio.sleep(min(SLOW_S_MAX, float(asked[1])))
        if FAIL in text and self._is_first(text):
            raise RuntimeError("this text fails at first: it holds " + FAIL)

    def _is_first(self, text: str) -> bool:
        self._failed.mkdir(parents=True, exist_ok=True)
        try:
            (self._failed / f"{zlib.crc32(text.encode()):08x}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def _held_to(wanted: Structured, said: str) -> str:
    """A choice by a hash of the text, or the example of a schema."""
    if wanted.choices:
        return wanted.choices[zlib.crc32(said.encode()) % len(wanted.choices)]
    return json.dumps(shapes.example(json.loads(wanted.schema)))


class _Aim:
    """What a vector must do to one head: rows it is multiplied with, and the products that are wanted."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._labels = len(head.labels)
        self._level = -(head.bias - head.bias.mean()).astype(np.float64)
        self._margin = head.temperature * (MARGIN_OF_FEW if self._labels < FEW else MARGIN)
        self._scope = SCOPE_LOGIT - head.scope_bias
        self.rows = [*(head.weights - head.weights.mean(axis=0)), head.scope_weights]

    def wanted(self, number: int) -> npt.NDArray[np.float64]:
        """All labels level but one, which is the number's."""
        logits = self._level.copy()
        logits[number % self._labels] += self._margin
        return np.append(logits - logits.mean(), self._scope)

    def is_sure(self, vector: npt.NDArray[np.float64]) -> bool:
        said = self._head.classify(vector.astype(np.float32))
        return bool(said["confidence"] > SURE and said["out_of_scope"] < NOWHERE)


def heads(model: str = "") -> list[Head]:
    """Those that workflows ask, of a version of a classifier; empty: of the newest that ships. A model that writes has
    none.
    """
    from aios.inference_workers.tasks import CLASSIFIER, heads_of

    path = heads_of(model or CLASSIFIER)
    found = classify.load(path if path.is_file() else heads_of(CLASSIFIER))
    aimed_at = [name for name in AIMED_AT if name in found] or sorted(found)[:AIMED_MAX]
    return [found[name] for name in aimed_at]
