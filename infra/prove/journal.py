"""What the load generator did, one line before and one line after each event, in a folder of its own.

Enters: an event that is about to be sent, then what became of it. Leaves: lines of JSON in folder/journal.jsonl:

    {"n": 7, "via": "kafka", "kind": "good", "key": "…", "body": "…", "at": 1700000000000}
    {"n": 7, "acked": 1700000000100, "topic": "…", "partition": 3, "offset": 12}     a broker acknowledged it
    {"n": 7, "acked": 1700000000100, "case_id": "…", "status": 202}                  the gateway answered 2xx
    {"n": 7, "refused": 409}       an HTTP status, 0: no answer; it may be there or not, nobody was told that it is

and folder/start.json: the run's name, and where every topic ended before the first event.
Guaranteed: the first line is in the file before the event leaves this process, so that an event which nobody knows
of cannot have been sent; a line that a crash cut is passed over by the reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

FILE, START = "journal.jsonl", "start.json"
HASH_CHARS = 16  # of a body's digest: enough to tell two bodies of one key apart


class Kind(StrEnum):
    """What an event is for."""

    GOOD = "good"
    REPEAT = "repeat"  # key and body of an earlier one
    CONCURRENT = "concurrent"  # a key sent twice at the same moment
    CONFLICT = "conflict"  # the key of an earlier one, another body
    SLOW = "slow"  # its answer takes seconds
    WAITING = "waiting"  # it gives the model orders: no model reads it, and its case waits for a person
    FLAKY = "flaky"  # its first answer fails for an unforeseen reason: it comes back through the retry tiers
    UNDECODABLE = "undecodable"
    UNKNOWN_SCHEMA = "unknown_schema"
    BROKEN_CONTRACT = "broken_contract"
    OVERSIZE = "oversize"
    SEGFAULT = "segfault"  # ends the process that decodes it, where admit.decode is armed


LETTERS: Mapping[Kind, str] = {
    Kind.UNDECODABLE: "undecodable",
    Kind.UNKNOWN_SCHEMA: "unknown_schema",
    Kind.BROKEN_CONTRACT: "contract_broken",
    Kind.OVERSIZE: "oversize",
    Kind.SEGFAULT: "kills_its_process",
}
"""The reason under which a dead letter of this kind must stand."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One event. at, acked: Unix ms of the generator; acked 0: nobody said that it was taken.

    refused: HTTP status of a refusal, 0: no answer; None: not refused. offset -1: the gateway does not tell.
    """

    n: int
    via: str
    kind: Kind
    key: str
    body: str
    at: int
    acked: int = 0
    refused: int | None = None
    topic: str = ""
    partition: int = -1
    offset: int = -1
    case_id: str = ""
    event_id: str = ""


class Writer:
    """Lines go to the operating system at flush(); call it before what they announce is sent."""

    def __init__(self, folder: Path, start: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / START).write_text(json.dumps(start) + "\n", encoding="utf-8")
        self._file = (folder / FILE).open("wb", buffering=0)
        self._lines: list[str] = []

    def sending(self, entry: Entry) -> None:
        said = {"n": entry.n, "via": entry.via, "kind": entry.kind, "key": entry.key, "body": entry.body}
        self._lines.append(json.dumps(said | {"at": entry.at}))

    def acknowledged(self, n: int, at: int, **where: str | int) -> None:
        self._lines.append(json.dumps({"n": n, "acked": at, **where}))

    def refused(self, n: int, status: int) -> None:
        self._lines.append(json.dumps({"n": n, "refused": status}))

    def flush(self) -> None:
        if self._lines:
            data = memoryview(("\n".join(self._lines) + "\n").encode())
            self._lines.clear()
            while data:
                data = data[self._file.write(data) :]

    def close(self) -> None:
        self.flush()
        self._file.close()


def digest(body: bytes) -> str:
    """Of the bytes a producer sends, or of the text it posts."""
    return sha256(body).hexdigest()[:HASH_CHARS]


def start_of(folder: Path) -> dict[str, Any]:
    """What start.json holds; empty without one."""
    try:
        said: dict[str, Any] = json.loads((folder / START).read_text(encoding="utf-8"))
        return said
    except FileNotFoundError:
        return {}


def size(folder: Path) -> int:
    """Bytes of the journal now; 0 without one."""
    path = folder / FILE
    return path.stat().st_size if path.is_file() else 0


def read(folder: Path, bytes_max: int) -> Iterator[Entry]:
    """Entries, each once, when its second line came or at the end; memory: those without one. Up to bytes_max."""
    waiting: dict[int, Entry] = {}
    left = bytes_max
    if not left:
        return
    with (folder / FILE).open("rb") as file:
        for raw in file:
            left -= len(raw)
            if left < 0:
                break
            try:
                said = json.loads(raw)
            except ValueError:
                continue  # cut by a crash: what it announced was not sent, or is not known to have been taken
            if "via" in said:
                waiting[said["n"]] = Entry(**{**said, "kind": Kind(said["kind"])})
            elif (entry := waiting.pop(said["n"], None)) is not None:
                yield _completed(entry, said)
    yield from waiting.values()


def _completed(entry: Entry, said: Mapping[str, Any]) -> Entry:
    if "refused" in said:
        entry.refused = said["refused"]
        return entry
    entry.acked = said["acked"]
    entry.topic, entry.partition = said.get("topic", ""), said.get("partition", -1)
    entry.offset, entry.case_id = said.get("offset", -1), said.get("case_id", "")
    return entry
