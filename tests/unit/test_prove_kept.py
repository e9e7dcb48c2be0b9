"""What stands outside a topic is held against what stands in it: the audit chain, the archive, numbers of letters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import fastavro
import pytest

from aios.infra.prove import kept
from aios.infra.prove.reading import Addresses, Kept, Place, Seen
from aios.streams import topology
from aios.streams.topics import LETTER_CHANGED
from aios.streams.topology import ADMIT

ADDRESSES = Addresses(kafka="nowhere:1", registry="", valkey="")


def test_dead_letters_are_counted_of_every_group_and_partition_unless_a_job_had_returned_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was bad before may fail again; a topic that did not end anywhere before counts from its beginning."""
    names = [stage.dead_letters.name for stage in topology.STAGES]
    returned = [("aios.dlq.reason", b"undecodable"), ("aios.dlq.replay.job", b"a job")]
    places = [(name, number) for name in names for number in (0, 1)]
    there = {place: [Seen(*place, n, 0, b"", b"", returned * (n == 2)) for n in range(3)] for place in places}

    class Sees:
        def __init__(self, _: object) -> None: ...
        def places(self, wanted: Iterable[str]) -> list[Place]:
            return [(name, number) for name in wanted for number in (0, 1)]

        def ends(self, places: Iterable[Place]) -> dict[Place, int]:
            return dict.fromkeys(places, 3)

    monkeypatch.setattr(kept, "Eyes", Sees)
    monkeypatch.setattr(kept, "Reader", lambda _: Kept(there))
    assert kept.letters(ADDRESSES) == dict.fromkeys(there, 3)
    before = {place: place[1] for place in there if place[0] != names[0]}
    assert kept.letters_since(ADDRESSES, before) == {name: 4 if name == names[0] else 3 for name in names}


def test_a_record_that_the_audit_sink_passed_over_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain of the others is whole: only what stands in the topics shows it."""
    lines = [{"n": 1, "record": {"cluster": "x"}}] + [
        {"n": n + 2, "record": {"place": {"topic": "audit.recorded.v1", "partition": 0, "offset": n}}} for n in (0, 2)
    ]
    (tmp_path / "chain-1.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    there = {("audit.recorded.v1", 0): [Seen("audit.recorded.v1", 0, n, 0, b"", b"", []) for n in range(3)]}

    class Sees:
        def __init__(self, _: object) -> None: ...
        def places(self, _: object) -> list[Place]:
            return list(there)

        def beginnings(self, _: object) -> dict[Place, int]:
            return dict.fromkeys(there, 0)

        def ends(self, _: object) -> dict[Place, int]:
            return dict.fromkeys(there, 3)

    monkeypatch.setattr(kept, "Eyes", Sees)
    monkeypatch.setattr(kept, "Reader", lambda _: Kept(there))
    assert kept.unchained(tmp_path, ADDRESSES) == ["audit.recorded.v1/0/1"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("c1", True, b"bad")], []),
        ([], ["l1, discarded, stands 0x in the archive"]),
        ([("c1", True, b"bad"), ("c1", True, b"bad")], ["l1, discarded, stands 2x in the archive"]),
        ([("c1", True, b"other")], ["l1, discarded, is archived without its bytes"]),
        ([("c1", False, None)], ["l1, discarded, is archived without its bytes"]),
    ],
    ids=["whole", "missing", "twice", "other bytes", "without them"],
)
def test_a_letter_that_was_given_up_is_in_the_archive_once_and_whole(
    rows: list[tuple[str, bool, bytes | None]], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is only edited is not looked for."""
    folder = tmp_path / "dead_letters_archived" / "date=2026-01-02"
    folder.mkdir(parents=True)
    kinds = {"change_id": "string", "found": "boolean", "value": ["null", "bytes"]}
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    with (folder / "letter.changed.v1-0-0-0.avro").open("wb") as file:
        told = [dict(zip(kinds, row, strict=True)) for row in rows]
        fastavro.writer(file, {"type": "record", "name": "Row", "fields": fields}, told)
    dead, place = ADMIT.dead_letters.name, {"topic": ADMIT.dead_letters.name, "partition": 0, "offset": 7}
    changes = [
        {"change_id": f"c{number}", "letter_id": f"l{number}", "state": state, **place}
        for number, state in ((1, "discarded"), (2, "edited"))
    ]
    there = {
        (LETTER_CHANGED.name, 0): [
            Seen(LETTER_CHANGED.name, 0, number, 0, b"", json.dumps(change).encode(), [])
            for number, change in enumerate(changes)
        ],
        (dead, 0): [Seen(dead, 0, 7, 0, b"", b"bad", [])],
    }

    class Sees:
        def __init__(self, _: object) -> None: ...
        def places(self, wanted: Iterable[str]) -> list[Place]:
            return [(name, 0) for name in wanted]

        def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
            return dict.fromkeys(places, 0)

        def ends(self, places: Iterable[Place]) -> dict[Place, int]:
            return dict.fromkeys(places, 8)

    monkeypatch.setattr(kept, "Eyes", Sees)
    monkeypatch.setattr(kept, "Reader", lambda _: Kept(there))
    monkeypatch.setattr(kept, "Registry", lambda _: SimpleNamespace(decode=json.loads))
    assert kept.unarchived(tmp_path, ADDRESSES) == said
