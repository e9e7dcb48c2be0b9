"""Answers as inference_workers/cache.py keeps them, in memory and for good."""

from __future__ import annotations

from aios.inference_workers.cache import Kept


class KeptInMemory:
    """As Answers; nothing is forgotten."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    async def get(self, key: str) -> Kept | None:
        return self.kept.get(key)

    def put(self, key: str, kept: Kept) -> None:
        self.kept[key] = kept
