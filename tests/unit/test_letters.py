"""What a record means for the index of dead letters, and what the archive keeps, without Kafka or Valkey."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY as METRICS

from aios.dlq.dead_letter import GROUPS
from aios.dlq.entries import Group
from aios.dlq.index import LetterIndex
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason, SchemaMismatch
from aios.sinks.lake_files import UNFINISHED
from aios.sinks.letter_archive import FOLDER, SCHEMA, Archive, Given, row
from aios.sinks.letter_writes import meaning_of
from aios.sinks.letters import Ages
from aios.streams import topology
from aios.streams.durations import DAY_MS
from aios.streams.errors import Unavailable
from aios.streams.record import Record
from aios.streams.topics import LETTER_CHANGED
from aios.streams.topology import ADMIT, LETTERS, PLAN
from tests.broker.letter_records import change, changed, failed, letter, standing
from tests.fakes.registry import FakeRegistry

NOW = 1_790_000_000_000
CODEC = Codec(FakeRegistry())


def given_up(number: int, offset: int, state: str = "discarded") -> tuple[Given, Record]:
    """A change at this offset, and the dead letter it is about."""
    record = standing(failed(number, at=NOW), number, NOW)
    event = change(letter(record), state, NOW)
    return Given(Record(LETTER_CHANGED.name, 1, offset, NOW, None, None), event), record


class There:
    """Places, remembered."""

    def __init__(self, *records: Record) -> None:
        self.records = {(one.topic, one.partition, one.offset): one for one in records}

    def fetch(self, wanted: Any) -> dict[Any, Record]:
        return {place: self.records[place] for place in wanted if place in self.records}


def files(lake: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.name: [cast(dict[str, Any], one) for one in fastavro.reader(BytesIO(path.read_bytes()))]
        for path in sorted(lake.rglob("*.avro"))
    }


def test_letters_reads_the_dead_letters_of_every_stage() -> None:
    """Its own too; nobody's are kept out of the operator's sight."""
    declared = {stage.dead_letters.name for stage in topology.STAGES if stage.reads}
    assert declared == set(GROUPS) == {topic.name for topic in LETTERS.reads} - {LETTER_CHANGED.name}


def test_the_index_holds_no_payload() -> None:
    """Only headers of ours and the key, bounded, whatever the record holds."""
    out = failed(1, value=b"secret bytes", key="k" * 5000, tenant="t" * 5000, at=NOW)
    write = meaning_of(standing(out, 9, NOW), CODEC).write
    assert write is not None
    assert "secret" not in str(write)
    assert len(str(write)) < 6000
    assert all(len(key) < 150 for key in write.keys)


@given(
    st.sampled_from(sorted(GROUPS)),
    st.binary(max_size=20) | st.none(),
    st.lists(st.tuples(st.sampled_from(["aios.dlq.id", "aios.dlq.attempts", "x"]), st.binary(max_size=9) | st.none())),
)
def test_no_dead_letter_fails_here(topic: str, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    """Else the stage's own dead letters would feed themselves."""
    meaning_of(Record(topic, 0, 1, NOW, None, value, headers), CODEC)


def test_a_letter_that_failed_again_is_as_old_as_its_record(caplog: pytest.LogCaptureFixture) -> None:
    """Whether it may return goes by that: it is measured and said, however young the letter is."""

    class Index:
        async def groups(self, *_: Any, **__: Any) -> list[Group]:
            kind = {"group": PLAN.group, "reason": "empty", "fingerprint": "f", "example": "e"}
            return [Group(**kind, count=2, oldest_at=NOW - DAY_MS, newest_at=NOW)]

        async def first_stood(self) -> dict[str, int]:
            return {PLAN.group: NOW - 20 * DAY_MS}

    ages = Ages(cast(LetterIndex, Index()))
    asyncio.run(ages.look(NOW))
    share = METRICS.get_sample_value("aios_dead_letter_oldest_share", {"group": PLAN.group})
    assert share == pytest.approx(20 / 30)
    assert "2 wait, the oldest record is 20 days old, and after 30 none returns" in caplog.text


def test_a_group_of_which_nothing_waits_any_more_is_not_measured(caplog: pytest.LogCaptureFixture) -> None:
    """Its last letter may be settled, or swept, between the two questions; that is no fault of the sink."""

    class Index:
        async def groups(self, *_: Any, **__: Any) -> list[Group]:
            return []

        async def first_stood(self) -> dict[str, int]:
            return {ADMIT.group: NOW - 20 * DAY_MS}

    ages = Ages(cast(LetterIndex, Index()), known=frozenset({ADMIT.group}))
    asyncio.run(ages.look(NOW))
    assert METRICS.get_sample_value("aios_dead_letter_oldest_share", {"group": ADMIT.group}) == 0
    assert METRICS.get_sample_value("aios_dead_letters_waiting", {"group": ADMIT.group}) == 0
    assert (ages.old, caplog.text) == (frozenset(), "")


def test_a_change_into_a_state_that_is_none_is_refused() -> None:
    """As what its topic does not carry; so is garbage."""
    record = standing(failed(1, at=NOW), 1, NOW)
    out = changed(CODEC, change(letter(record), "vanished", NOW))
    for value, reason in ((out.value, Reason.CONTRACT_BROKEN), (b"\x07", Reason.UNDECODABLE)):
        with pytest.raises(SchemaMismatch) as refusal:
            meaning_of(Record(LETTER_CHANGED.name, 0, 1, NOW, None, value), CODEC)
        assert refusal.value.reason is reason


def test_a_batch_that_comes_again_is_archived_once(tmp_path: Path) -> None:
    """The same cut, another cut, and a topic that begins anew: each change once, and no file is replaced."""
    changes = [given_up(number, offset) for number, offset in enumerate((3, 5, 8))]
    there = There(*(record for _, record in changes))
    archive = Archive(tmp_path, cast(Any, there))
    assert archive.keep(one for one, _ in changes[:2]) == 2
    before = files(tmp_path)
    assert list(before) == ["letter.changed.v1-1-3-5.avro"]
    assert archive.keep(one for one, _ in changes[:2]) == 0
    assert archive.keep(one for one, _ in changes) == 1
    assert files(tmp_path) == before | {"letter.changed.v1-1-8-8.avro": files(tmp_path)["letter.changed.v1-1-8-8.avro"]}
    other, record = given_up(7, 8, "expired")
    there.records[record.topic, record.partition, record.offset] = record
    assert archive.keep([other]) == 1
    assert [name for name in files(tmp_path) if "-8-8" in name] == [
        "letter.changed.v1-1-8-8.1.avro",
        "letter.changed.v1-1-8-8.avro",
    ]
    assert archive.keep([other, given_up(9, 11, "replayed")[0]]) == 0


def test_what_a_death_left_unfinished_goes_with_the_next_file_of_its_partition(tmp_path: Path) -> None:
    """Which may hold other changes, and so have another name; it holds people's data that nobody would find."""
    one, record = given_up(1, 3)
    folder = tmp_path / FOLDER / "date=2026-01-02"
    folder.mkdir(parents=True)
    own, others = (folder / f"letter.changed.v1-{partition}-1-3.avro{UNFINISHED}" for partition in (1, 11))
    for path in (own, others):
        path.write_bytes(b"half of it")
    assert Archive(tmp_path, cast(Any, There(record))).keep([one]) == 1
    assert (own.exists(), others.exists()) == (False, True)


def test_a_letter_by_reference_is_archived_with_its_own_bytes(tmp_path: Path) -> None:
    """And one whose record is gone with what the change says."""
    one, record = given_up(1, 3)
    referred = Record(*record_place(record), NOW, b"k", None, (*record.headers, ("aios.dlq.payload_ref", b"in.v1/0/7")))
    original = Record("in.v1", 0, 7, NOW, b"k1", b"large", ())
    gone, _ = given_up(2, 4)
    assert Archive(tmp_path, cast(Any, There(referred, original))).keep([one, gone]) == 2
    ((kept, lost),) = files(tmp_path).values()
    assert (kept["value"], kept["key"], kept["found"], kept["group"]) == (b"large", b"k1", True, "aios.plan")
    assert (lost["value"], lost["found"], lost["why"], lost["group"]) == (None, False, "said so", "aios.plan")
    assert (
        set(kept) == {field["name"] for field in cast(dict[str, Any], SCHEMA)["fields"]} == set(row(gone, None, None))
    )


def record_place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def test_a_full_disk_is_no_archive(tmp_path: Path) -> None:
    """It is said, and the offset stays where it is; nothing half remains under a file's name."""
    one, record = given_up(1, 3)
    (tmp_path / "dead_letters_archived").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        Archive(tmp_path, cast(Any, There(record))).keep([one])
