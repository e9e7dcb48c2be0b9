"""Documents too large to travel in records: kept once, by what they are, and named by reference (claim check).

Enters: a tenant, and bytes as they arrive. Leaves: `sha256:<64 hex digits>`, under which the same tenant gets the same
bytes back. Guaranteed: a reference leads to the bytes it was made of or to an error, since the hash is taken again when
they are read; nobody reads another tenant's; what is half written is under no reference; a repeat is kept once; a
document is bounded. Kept for RETENTION_DAYS after it was last handed in: longer than the topics that name it.

One machine: a folder (documents.folder, by default in the home). Many: the same folder on a volume that the gateways
and the connectors share; whoever has an object store instead writes a Store of its four calls (S3's PUT, GET, HEAD and
LIST with an age). Rejected: documents in Kafka (a topic with records of 16 MiB makes every fetch that large), a
database (nothing here is asked but by name).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO, Protocol

from aios.schemas.errors import AiosError, Unavailable
from aios.streams.config import Settings

BYTES_MAX = 16 << 20  # of one document
BY_REFERENCE_FROM = 256 << 10  # smaller ones may travel in the record itself
FREE_BYTES_MIN = 256 << 20  # of the disk: with less, nothing more is kept
RETENTION_DAYS = 31
PART_S_MAX = 3600.0  # a part older than that was left by a process that ended
REFERENCE = re.compile(r"^sha256:([0-9a-f]{64})$")
_READ = 1 << 20


class NotKept(AiosError):
    """Nothing is kept under this reference for this tenant, or it is none."""


class Differs(AiosError):
    """What is kept is not what the reference says: the disk lies, or somebody wrote into it."""


class TooLarge(AiosError):
    """More than BYTES_MAX."""


class Store(Protocol):
    """What keeps documents. Every call may raise Unavailable."""

    def new(self, tenant: str) -> Arriving: ...

    def get(self, tenant: str, reference: str) -> bytes:
        """Raises NotKept and Differs."""

    def has(self, tenant: str, reference: str) -> bool: ...

    def sweep(self, older_than_s: float) -> int:
        """Forget what was last handed in longer ago; how many documents went."""


class Arriving(Protocol):
    """A document on its way in."""

    def write(self, content: bytes) -> None:
        """Raises TooLarge."""

    def keep(self) -> str:
        """It has come whole: its reference. When this returns, it is on the disk."""

    def drop(self) -> None:
        """Forget it; harmless after keep()."""


class FolderStore:
    """See the module. folder/<tenant's hash>/<two digits>/<sha256>."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self, tenant: str) -> Arriving:
        return _Part(self._of(tenant))

    def put(self, tenant: str, content: bytes) -> str:
        """All at once. Raises TooLarge."""
        part = self.new(tenant)
        try:
            part.write(content)
            return part.keep()
        finally:
            part.drop()

    def get(self, tenant: str, reference: str) -> bytes:
        path = self._path(tenant, reference)
        try:
            if path.stat().st_size > BYTES_MAX:
                raise Differs(f"what is kept under {reference} is larger than any document")
            content = path.read_bytes()
        except FileNotFoundError:
            raise NotKept(f"nothing is kept under {reference} for this tenant") from None
        except OSError as error:
            raise Unavailable(f"the folder of documents cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != path.name:
            raise Differs(f"what is kept under {reference} has another hash")
        return content

    def has(self, tenant: str, reference: str) -> bool:
        return self._path(tenant, reference).is_file()

    def sweep(self, older_than_s: float) -> int:
        now, gone = time.time(), 0
        for path in self._folder.glob("*/*/*"):
            limit = PART_S_MAX if path.name.startswith("part-") else older_than_s
            try:
                if now - path.stat().st_mtime > limit:
                    path.unlink()
                    gone += not path.name.startswith("part-")
            except FileNotFoundError:
                continue  # another process swept it, or the part became a document
            except OSError as error:
                raise Unavailable(f"the folder of documents cannot be swept: {error.strerror}") from error
        return gone

    def _of(self, tenant: str) -> Path:
        """By the tenant's hash: its name may hold anything."""
        return self._folder / hashlib.sha256(tenant.encode()).hexdigest()[:32]

    def _path(self, tenant: str, reference: str) -> Path:
        match = REFERENCE.match(reference)
        if match is None:
            raise NotKept("a reference is `sha256:` and 64 hex digits")
        return self._of(tenant) / match[1][:2] / match[1]


class _Part:
    """Written beside its place, moved when whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def write(self, content: bytes) -> None:
        self._bytes += len(content)
        if self._bytes > BYTES_MAX:
            raise TooLarge(f"a document has at most {BYTES_MAX} bytes")
        try:
            if self._file is None:
                self._file = self._opened()
            self._file.write(content)
        except OSError as error:
            raise Unavailable(f"the folder of documents cannot be written: {error.strerror}") from error
        self._hash.update(content)

    def keep(self) -> str:
        name = self._hash.hexdigest()
        place = self._folder / name[:2] / name
        try:
            if self._file is None:
                self._file = self._opened()  # an empty document is one
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(self._file.name).replace(place)
            _sync(place.parent)
        except OSError as error:
            raise Unavailable(f"the folder of documents cannot be written: {error.strerror}") from error
        self._file = None
        return f"sha256:{name}"

    def drop(self) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None

    def _opened(self) -> IO[bytes]:
        arriving = self._folder / "in"
        arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(arriving).free < FREE_BYTES_MIN:
            raise Unavailable("the disk of the documents is nearly full")
        return tempfile.NamedTemporaryFile(dir=arriving, prefix="part-", delete=False, buffering=_READ)


def documents_folder(settings: Settings) -> Path:
    """Where this deployment keeps documents."""
    return settings.documents.folder or settings.home / "documents"


def _sync(folder: Path) -> None:
    """So that the name outlives a power cut, not only the bytes."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
