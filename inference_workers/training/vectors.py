"""Texts as vectors of the engine that serves, for training and judging heads; each text is embedded once.

In: texts, and the weights they are read with. Out: one vector a text, as the pool would make it (chunks, pooling).
Guaranteed: cached by text, by what the weights were made from and by how much the pool's engine reads, under .cache/,
so that only a first training takes its time and other weights never get these vectors.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aios.inference_workers.classify import Vector, chunks, pooled
from aios.inference_workers.engines.engine import Embed, Runner
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.inference_workers.weights import convert
from aios.streams import installed
from aios.streams.config import InferenceSettings

CACHE = convert.CACHE.parent / "embeddings"
IN_FLIGHT_MAX = 256


@dataclass(frozen=True, slots=True)
class Texts:
    """n texts of one split. labels: empty strings for strays."""

    vectors: Vector
    labels: Any

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, chosen: Any) -> Texts:
        return Texts(self.vectors[chosen], self.labels[chosen])

    def __add__(self, other: Texts) -> Texts:
        return Texts(np.vstack([self.vectors, other.vectors]), np.concatenate([self.labels, other.labels]))


class Embeddings:
    """Text → vector, through the serving engine, cached by the text's hash."""

    def __init__(self, weights: str) -> None:
        self._weights = weights
        reads = _settings(weights).context_tokens
        made = convert.made_from(weights) | ({"context_tokens": reads} if reads else {})
        digest = hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]
        self._path = CACHE / f"{weights}-{digest}.npz"
        self._known: dict[str, Vector] = {}
        if self._path.is_file():
            with np.load(self._path, allow_pickle=False) as arrays:
                self._known = dict(zip(arrays["hashes"].tolist(), arrays["vectors"], strict=True))

    def fetch(self, texts: Iterable[str]) -> None:
        """Ask the engine, started once, for what is not cached yet."""
        missing = sorted({piece for text in texts for piece in chunks(text) if _hash(piece) not in self._known})
        if missing:
            print(f"embedding {len(missing)} texts", file=sys.stderr)
            found = asyncio.run(_embed(self._weights, missing))
            self._known |= {_hash(piece): vector for piece, vector in zip(missing, found, strict=True)}
            self._save()

    def of(self, texts: Sequence[str], labels: Iterable[str]) -> Texts:
        self.fetch(texts)
        cut = [chunks(text) for text in texts]
        vectors = [pooled(np.array([self._known[_hash(piece)] for piece in pieces])) for pieces in cut]
        return Texts(np.array(vectors, dtype=np.float32), np.array(list(labels)))

    def _save(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part.npz")
        np.savez(part, hashes=np.array(list(self._known)), vectors=np.array(list(self._known.values())))
        part.rename(self._path)


def _settings(weights: str) -> InferenceSettings:
    """As the engine of the pool that serves them is told, where one does."""
    pools = (pool for pool in installed.pools().values() if pool.weights == weights)
    return next((InferenceSettings().of(pool) for pool in pools), InferenceSettings())


async def _embed(weights: str, texts: Sequence[str]) -> Vector:
    engine = VllmEngine(convert.folder(weights), Runner.EMBED, _settings(weights))
    await engine.start()
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def one(text: str) -> Sequence[float]:
        async with room:
            return (await engine.embed(Embed(text=text))).vector

    try:
        return np.array(await asyncio.gather(*map(one, texts)), dtype=np.float32)
    finally:
        await engine.close()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
