"""Documents too large to travel in records: kept once, by what they are, and named by reference (claim check).

Enters: a tenant, and bytes as they arrive. Leaves: `sha256:<64 hex digits>`, under which the same tenant gets the same
bytes back. Guaranteed: a reference leads to the bytes it was made of or to an error, since the hash is taken again when
they are read; nobody reads another tenant's; what is half written is under no reference; a repeat is kept once; a
document is bounded, and so is all that a tenant keeps (Quota). Kept for RETENTION_DAYS after it was last handed in,
longer than the topics that name it, and forgotten by the gateways (gateway/documents.py).

Handing in and forgetting exclude each other, a tenant at a time: both hold the lock of the tenant's file `used`, where
the number and bytes of its documents stand. So what was acknowledged after it had come again is never forgotten for
being old before, and two gateways do not go over a quota together. A process that dies between the line and the
document leaves the line too high; the next sweep counts.

One machine: a folder (documents.folder, by default in the home). Many: the same folder on a volume that the gateways
and the connectors share; whoever has an object store instead writes a Store of its four calls (S3's PUT, GET, HEAD and
LIST with an age). Rejected: counting how many cases need a document (a replay, a person's answer or another screening
may read it after the decision); documents in Kafka (a topic with records of 16 MiB makes every fetch that large), a
database (nothing here is asked but by name).
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
_USED = "used"
_LINE_BYTES_MAX = 64
_TENANTS = "[0-9a-f]" * 32 + "/"
_KEPT = "[0-9a-f][0-9a-f]/*"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that one tenant keeps."""

    bytes_max: int = 16 << 30
    count_max: int = 100_000


class NotKept(AiosError):
    """Nothing is kept under this reference for this tenant, or it is none."""


class Differs(AiosError):
    """What is kept is not what the reference says: the disk lies, or somebody wrote into it."""


class TooLarge(AiosError):
    """More than BYTES_MAX."""


class QuotaUsedUp(AiosError):
    """One more document, and the tenant would keep more than its quota."""


class Store(Protocol):
    """What keeps documents. Every call may raise Unavailable."""

    def new(self, tenant: str) -> Arriving: ...

    def get(self, tenant: str, reference: str) -> bytes:
        """Raises NotKept and Differs."""

    def has(self, tenant: str, reference: str) -> bool: ...

    def sweep(self, older_than_s: float, goes_on: Callable[[], bool] = lambda: True) -> int:
        """Forget what was last handed in longer ago; how many documents went. goes_on: asked before each tenant."""


class Arriving(Protocol):
    """A document on its way in."""

    def write(self, content: bytes) -> None:
        """Raises TooLarge."""

    def keep(self) -> str:
        """It has come whole: its reference. When this returns, it is on the disk. Raises QuotaUsedUp."""

    def drop(self) -> None:
        """Forget it; harmless after keep()."""


class FolderStore:
    """See the module. folder/<tenant's hash>/<two digits>/<sha256>. quota: of each tenant."""

    def __init__(self, folder: Path, quota: Quota | None = None) -> None:
        self._folder = folder
        self._quota = quota or Quota()

    def new(self, tenant: str) -> Arriving:
        return _Part(self._of(tenant), self._quota)

    def put(self, tenant: str, content: bytes) -> str:
        """All at once. Raises TooLarge and QuotaUsedUp."""
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

    def sweep(self, older_than_s: float, goes_on: Callable[[], bool] = lambda: True) -> int:
        """A tenant whose folder cannot be swept holds up no other: it is said in the log."""
        before, gone = time.time() - older_than_s, 0
        try:
            folders = list(self._folder.glob(_TENANTS))
        except OSError as error:
            raise Unavailable(f"the folder of documents cannot be swept: {error.strerror}") from error
        for folder in folders:
            if not goes_on():
                break
            try:
                gone += _swept(folder, before)
            except OSError as error:
                log.warning("documents in %s are kept for longer than they need be: %s", folder, error.strerror)
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
    """Written beside its place, moved when whole. From any thread: a drop waits for what is under way, and ends it."""

    def __init__(self, folder: Path, quota: Quota) -> None:
        self._folder = folder
        self._quota = quota
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._is_dropped = False

    def write(self, content: bytes) -> None:
        with self._lock:
            self._written(content)

    def keep(self) -> str:
        with self._lock:
            return self._kept()

    def drop(self) -> None:
        with self._lock:
            self._is_dropped = True
            if self._file is not None:
                with suppress(OSError):  # a full disk does not take what was held in memory at its end either
                    self._file.close()
                Path(self._file.name).unlink(missing_ok=True)
                self._file = None

    def _written(self, content: bytes) -> None:
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

    def _kept(self) -> str:
        name = self._hash.hexdigest()
        place = self._folder / name[:2] / name
        try:
            if self._file is None:
                self._file = self._opened()  # an empty document is one
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(self._folder) as used:
                was = _size(place)
                used.add(self._bytes - (was or 0), 0 if was is not None else 1, self._quota)
                os.utime(self._file.name)  # now, not when its first byte came, is when it was handed in
                Path(self._file.name).replace(place)
            _sync(place.parent)
        except OSError as error:
            raise Unavailable(f"the folder of documents cannot be written: {error.strerror}") from error
        self._file = None
        return f"sha256:{name}"

    def _opened(self) -> IO[bytes]:
        if self._is_dropped:
            raise Unavailable("nobody waits for this document any more")
        arriving = self._folder / "in"
        arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(arriving).free < FREE_BYTES_MIN:
            raise Unavailable("the disk of the documents is nearly full")
        return tempfile.NamedTemporaryFile(dir=arriving, prefix="part-", delete=False, buffering=_READ)


class _Used:
    """What a tenant keeps: bytes, count, and how often that has changed. In one line of a file that is locked."""

    def __init__(self, folder: Path, handle: int) -> None:
        self._handle = handle
        line = os.pread(handle, _LINE_BYTES_MAX, 0).split()
        if len(line) == 3 and all(one.isdigit() for one in line):
            self._bytes, self._count, self.changes = map(int, line)
        else:  # the first one, or cut off by a power cut
            (self._bytes, self._count), self.changes = _counted(folder), 0

    def add(self, size: int, count: int, quota: Quota | None = None) -> None:
        """count: -1, 0 or 1. quota: what it may not go over by that. Raises QuotaUsedUp."""
        if quota is not None and (
            (size > 0 and self._bytes + size > quota.bytes_max) or (count > 0 and self._count + count > quota.count_max)
        ):
            raise QuotaUsedUp(
                f"this tenant keeps {self._count} documents of at most {quota.count_max},"
                f" {self._bytes} bytes of at most {quota.bytes_max}"
            )
        self.say(self._bytes + size, self._count + count)

    def say(self, size: int, count: int) -> None:
        """Always of one length, so that it is written at once."""
        self._bytes, self._count, self.changes = max(0, size), max(0, count), self.changes + 1
        os.pwrite(self._handle, b"%020d %020d %020d\n" % (self._bytes, self._count, self.changes), 0)


@contextmanager
def _alone(folder: Path) -> Iterator[_Used]:
    """Nobody else hands in or forgets a document of this tenant meanwhile, in whatever process."""
    handle = os.open(folder / _USED, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield _Used(folder, handle)
    finally:
        os.close(handle)


def _swept(folder: Path, before: float) -> int:
    """Of one tenant; then its documents are counted, if nobody hands one in meanwhile. before: Unix s."""
    parts_before = time.time() - PART_S_MAX
    for part in folder.glob("in/part-*"):
        if _is_older(part, parts_before):
            part.unlink(missing_ok=True)  # in this moment it may have become a document
    gone = sum(_forgotten(path, folder, before) for path in folder.glob(_KEPT) if _is_older(path, before))
    with _alone(folder) as used:
        changes = used.changes
    size, count = _counted(folder)
    with _alone(folder) as used:
        if used.changes == changes:
            used.say(size, count)
    return gone


def _forgotten(path: Path, folder: Path, before: float) -> bool:
    """Looked at again with the lock: it may have been handed in again since."""
    with _alone(folder) as used:
        if not _is_older(path, before):
            return False
        size = path.stat().st_size
        path.unlink()
        used.add(-size, -1)
        return True


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return False  # another process swept it, or the part became a document


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _counted(folder: Path) -> tuple[int, int]:
    """Bytes and number of documents."""
    sizes = [size for path in folder.glob(_KEPT) if (size := _size(path)) is not None]
    return sum(sizes), len(sizes)


def documents_folder(settings: Settings) -> Path:
    """Where this deployment keeps documents."""
    return settings.documents.folder or settings.home / "documents"


def kept_here(settings: Settings) -> FolderStore:
    """What keeps this deployment's documents."""
    limits = settings.documents
    return FolderStore(
        documents_folder(settings), Quota(bytes_max=limits.tenant_bytes_max, count_max=limits.tenant_count_max)
    )


def _sync(folder: Path) -> None:
    """So that the name outlives a power cut, not only the bytes."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
