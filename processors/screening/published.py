"""Which version of a list is current: the one that was published last, else the newest that is shipped.

Enters: list.published.v1, followed; the files that it names. Leaves: the index over the current version. Guaranteed: a
version is built beside the current one and takes over whole; whoever asks has one version for his whole question; bytes
whose hash is not the published one never serve, nor do those that cannot be read: they are logged, the former version
goes on, and the new one is tried again. A process that starts has no former version: it screens by no older list than
the published one, and is away until that can be read. A file that was published lies where every process of the system
reaches it (lists_folder), by hash.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aios.processors.screening import list_files
from aios.processors.screening.index import Index
from aios.processors.screening.list_files import Listed
from aios.schemas.codec import Codec
from aios.schemas.errors import AiosError
from aios.schemas.models import ListPublished
from aios.schemas.registry import RegistrySource
from aios.streams.config import KafkaSettings, Settings
from aios.streams.document_store import FolderStore, documents_folder
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.reference import ReferenceTable
from aios.streams.topics import LIST_PUBLISHED

OWNER = "lists"  # whose files they are in the store: the deployment's, no tenant's
BY_HASH = "sha256:"
AGAIN_S = 30.0  # before a version that did not serve is tried again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version, searchable."""

    listed: Listed
    index: Index


def lists_folder(settings: Settings) -> Path:
    """Where lists lie that were published and did not come with the package; beside the documents, never swept."""
    return documents_folder(settings).parent / "lists"


def keep(settings: Settings, content: bytes) -> str:
    """Put a list's file where every process finds it; its reference. Raises Unavailable."""
    return FolderStore(lists_folder(settings)).put(OWNER, content)


def content_of(settings: Settings, told: ListPublished) -> bytes:
    """The bytes that were published. Raises AiosError: they are not there, or others."""
    if told.reference.startswith(BY_HASH):
        content = FolderStore(lists_folder(settings)).get(OWNER, told.reference)
    else:
        content = list_files.path_of(told.list, told.version).read_bytes()
    if hashlib.sha256(content).hexdigest() != told.sha256:
        raise ConfigError(f"{told.list}@{told.version}: the file is not the one that was published")
    return content


def table(
    kafka: KafkaSettings,
    codec: Codec,
    changed: Callable[[str, ListPublished | None, ListPublished | None], None] = lambda _name, _before, _after: None,
) -> ReferenceTable[ListPublished]:
    """By list; load() it, or start() it to follow along."""
    return ReferenceTable(kafka, codec, LIST_PUBLISHED, ListPublished, name_of=lambda told: told.list, changed=changed)


def read(kafka: KafkaSettings, codec: Codec) -> dict[str, ListPublished]:
    """What is published of every list. Raises Unavailable."""
    found = table(kafka, codec)
    try:
        found.load()
        return found.all()
    finally:
        found.close()


class Current:
    """See the module. open() once; now() from any thread; a builder thread loads what is published meanwhile."""

    def __init__(self, name: str, settings: Settings, *, follow: bool = True) -> None:
        """follow: False for a shipped version alone, without Kafka."""
        self._name = name
        self._settings = settings
        self._follow = follow
        self._loaded: Loaded | None = None
        self._table: ReferenceTable[ListPublished] | None = None
        self._source: RegistrySource | None = None
        self._waiting = threading.Event()
        self._stop = threading.Event()
        self._builder: threading.Thread | None = None

    def open(self) -> None:
        """Loads what is current, and follows. Raises Unavailable, ConfigError."""
        if self._follow and self._table is None:
            self._source = RegistrySource(self._settings.registry.url)
            found = table(self._settings.kafka, Codec(self._source), lambda *_: self._waiting.set())
            found.start()
            self._table = found
        if not self._load() and self._loaded is None:
            raise Unavailable(f"the published version of the list {self._name} cannot be read here")
        if self._loaded is None:
            self._loaded = _loaded(list_files.shipped(self._name))
        if self._follow and self._builder is None:
            self._builder = threading.Thread(target=self._build, name=f"list {self._name}", daemon=True)
            self._builder.start()

    def now(self) -> Loaded:
        """The current version. Raises ConfigError before open()."""
        if self._loaded is None:
            raise ConfigError(f"the list {self._name} is not loaded")
        return self._loaded

    def published_at(self) -> int:
        """When the version that serves was published, Unix ms; 0: it came with the package."""
        told = self._table.get(self._name) if self._table is not None else None
        return told.published_at if told is not None and self._serves(told) else 0

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._waiting.set()
        if self._builder is not None:
            self._builder.join()
        if self._table is not None:
            self._table.close()
        if self._source is not None:
            self._source.close()

    def _serves(self, told: ListPublished) -> bool:
        """Under its own name too: answers say which version they are of."""
        listed = self._loaded.listed if self._loaded is not None else None
        return listed is not None and (listed.version, listed.sha256) == (told.version, told.sha256)

    def _build(self) -> None:
        serves = True
        while not self._stop.is_set():
            self._waiting.wait(None if serves else AGAIN_S)
            if not self._stop.is_set():
                serves = self._load()

    def _load(self) -> bool:
        """The published version, if it is another than the loaded one. False: it does not serve, which is logged."""
        self._waiting.clear()
        told = self._table.get(self._name) if self._table is not None else None
        if told is None or self._serves(told):
            return True
        try:
            self._loaded = _loaded(list_files.read(told.list, told.version, content_of(self._settings, told)))
        except (AiosError, OSError) as error:
            log.error("list %s@%s does not serve: %s", told.list, told.version, error)  # noqa: TRY400 - foreseen
            return False
        except Exception:  # whatever it is, a thread that died would keep the former version for good
            log.exception("list %s@%s does not serve", told.list, told.version)
            return False
        log.info("list %s@%s serves, %d entries", told.list, told.version, told.entries)
        return True


def _loaded(listed: Listed) -> Loaded:
    """The index is a million objects and no garbage to look through: doing so takes longer than building it, and all
    threads stand still meanwhile, now and in every search.
    """
    gc.collect()
    gc.disable()
    try:
        loaded = Loaded(listed, Index(listed.entries))
        gc.freeze()
    finally:
        gc.enable()
    return loaded
