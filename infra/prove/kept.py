"""What stands outside a topic, held against what stands in it: the audit chain, the archive, the dead letters.

Enters: a system at rest. Leaves: places of records that no line of the chain has, letters that were given up and are
not in the archive once and whole, and numbers of dead letters. Guaranteed: the files are read as they are, not by the
sinks' own readers of positions, and the topics by the proof's own eyes: a record that a sink passed over is found,
though the chain of the others is whole.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import fastavro

from aios.infra.prove.reading import Addresses, Eyes, Place, Reader, Registry, everything
from aios.streams import topology
from aios.streams.topics import LETTER_CHANGED
from aios.streams.topology import AUDIT

GIVEN_UP = ("discarded", "expired")  # states of a letter of which nothing but the archive is left
JOB = "aios.dlq.replay.job"  # the header of a record that a replay job returned


def unchained(folder: Path, addresses: Addresses) -> list[str]:
    """Places of records, as topic/partition/offset, that the chain in this folder lacks. Raises Unavailable."""
    chained = _chained(folder)
    eyes, reader = Eyes(addresses), Reader(addresses)
    try:
        return [
            f"{one.topic}/{one.partition}/{one.offset}"
            for one in everything(eyes, reader, (topic.name for topic in AUDIT.inputs))
            if chained[one.topic, one.partition][one.offset : one.offset + 1] != b"\1"
        ]
    finally:
        reader.close()


def missing(home: Path, addresses: Addresses) -> str:
    """What the chain in this home lacks, in words; empty: nothing. Raises Unavailable."""
    lacks = unchained(home / "audit", addresses)
    return f"{len(lacks)} records are not in it, the first: {', '.join(lacks[:3])}" if lacks else ""


def unarchived(lake: Path, addresses: Addresses) -> list[str]:
    """What is wrong with the archive in this lake, a sentence a letter that was given up. Raises Unavailable."""
    rows = _archived(lake)
    eyes, reader, registry = Eyes(addresses), Reader(addresses), Registry(addresses.registry)
    try:
        changes = [registry.decode(seen.value or b"") for seen in everything(eyes, reader, [LETTER_CHANGED.name])]
        given_up = {one["change_id"]: one for one in changes if one["state"] in GIVEN_UP}
        stood = {one["topic"] for one in given_up.values()}
        letters = {(one.topic, one.partition, one.offset): one.value for one in everything(eyes, reader, stood)}
    finally:
        reader.close()
    wrong = []
    for change_id, one in given_up.items():
        found, value = rows[change_id], letters.get((one["topic"], one["partition"], one["offset"]))
        name = f"{one['letter_id']}, {one['state']}"
        if len(found) != 1:
            wrong.append(f"{name}, stands {len(found)}x in the archive")
        elif not found[0]["found"] or (value is not None and found[0]["value"] != value):
            wrong.append(f"{name}, is archived without its bytes")
    return wrong


def letters(addresses: Addresses) -> dict[Place, int]:
    """Where the dead letters of every group end, by partition. Raises Unavailable."""
    eyes = Eyes(addresses)
    return eyes.ends(eyes.places(stage.dead_letters.name for stage in topology.STAGES))


def letters_since(addresses: Addresses, ends: Mapping[Place, int]) -> Counter[str]:
    """Dead letters behind these ends, by topic; without those that a job had returned, which were bad before.

    Raises Unavailable.
    """
    reader = Reader(addresses)
    try:
        behind = {place: (ends.get(place, 0), end) for place, end in letters(addresses).items()}
        seen = reader.several(behind, headers=True)
        return Counter(one.topic for one in seen if JOB not in dict(one.headers))
    finally:
        reader.close()


def _archived(lake: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows by change, however often one stands there."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(lake.glob("dead_letters_archived/*/*.avro")):
        with path.open("rb") as file:
            for row in fastavro.reader(file):
                found[cast(dict[str, Any], row)["change_id"]].append(cast(dict[str, Any], row))
    return found


def _chained(folder: Path) -> dict[Place, bytearray]:
    """By partition, a byte for each offset: 1 where a line has it."""
    found: dict[Place, bytearray] = defaultdict(bytearray)
    for path in sorted(folder.glob("chain-*.jsonl")):
        for line in path.read_bytes().splitlines():
            place = json.loads(line)["record"].get("place")
            if place is not None:  # the record that a file begins with has none
                marks, offset = found[place["topic"], place["partition"]], place["offset"]
                marks.extend(bytes(max(0, offset + 1 - len(marks))))
                marks[offset] = 1
    return found
