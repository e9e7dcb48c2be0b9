"""Whoever holds secrets (tenants their API keys, principals their tokens), by name and by secret.

Enters: a reference table whose records name the digests of valid secrets. Leaves: who holds one. Guaranteed: a secret
that is valid no more finds nobody from the moment its record is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from aios.schemas.codec import Codec
from aios.schemas.models import Event
from aios.streams.config import KafkaSettings
from aios.streams.credentials import digest
from aios.streams.reference import ReferenceTable
from aios.streams.topics import Topic

E = TypeVar("E", bound=Event)


class HolderTable(ReferenceTable[E]):
    """See ReferenceTable. hashes_of: the digests that are valid now, none of who is not active.

    watched: a digest; `met` is then what its holder was before it came, so that whoever wrote it knows upon what.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        codec: Codec,
        topic: Topic,
        event: type[E],
        *,
        name_of: Callable[[E], str],
        hashes_of: Callable[[E], Collection[str]],
        watched: str = "",
    ) -> None:
        super().__init__(kafka, codec, topic, event, name_of=name_of, changed=self._index)
        self._hashes_of = hashes_of
        self._by_hash: dict[str, str] = {}
        self._watched = watched
        self.met: E | None = None

    def by_secret(self, secret: str) -> E | None:
        """Whose it is."""
        hashed = digest(secret)
        found = self.get(self._by_hash.get(hashed, ""))
        return found if found is not None and hashed in self._hashes_of(found) else None

    def _index(self, name: str, before: E | None, after: E | None) -> None:
        hashes = self._hashes_of(after) if after is not None else ()
        former = self._hashes_of(before) if before is not None else ()
        if self._watched in hashes and self._watched not in former:
            self.met = before
        for hashed in former:
            if hashed not in hashes:
                self._by_hash.pop(hashed, None)
        self._by_hash.update(dict.fromkeys(hashes, name))


def looked_up(table: HolderTable[E], name: str) -> tuple[E | None, E | None]:
    """A holder as it is now, and as it was before the watched secret came; the table is closed. Raises Unavailable."""
    try:
        table.load()
        return table.get(name), table.met
    finally:
        table.close()


def still_valid(hashes: Sequence[str], hashed: str, *, was_active: bool) -> tuple[str, ...]:
    """All of them; where their holder was active no more when this one came, it and what came since: the record that
    brought it had been made from an earlier look, and brought back what was valid then.
    """
    return tuple(hashes if was_active else hashes[hashes.index(hashed) :])
