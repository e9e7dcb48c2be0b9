"""The chain: what is written once stays as it was, or the verifier names the place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, TopicPartition

from aios.schemas import ids
from aios.sinks import audit, audit_chain
from aios.sinks.audit_chain import Chain, Entry, Head, files, read_head
from aios.sinks.audit_verify import Kind, verify
from aios.streams.config import KafkaSettings
from aios.streams.errors import StateBroken, Unavailable
from aios.streams.topology import AUDIT

CLUSTER = "cluster-1"
Lines = list[bytes]


def entry(offset: int, partition: int = 0, case: str = "") -> Entry:
    event = {"case_id": case or f"case-{offset}", "transition": "admitted", "case_seq": 1}
    return Entry("audit.recorded.v1", partition, offset, 1_000 + offset, {"kind": "audit", "event": event})


def opened(home: Path, cluster: str = CLUSTER, **bounds: int) -> Chain:
    chain = Chain(home / "audit", home / "run" / "head.json", cluster, **bounds)
    chain.open()
    return chain


def written(home: Path, records: int = 9, **bounds: int) -> Path:
    """A chain of that many records in batches of three; returns its folder. Record 1 is the first file's own."""
    chain = opened(home, **bounds)
    for first in range(0, records, 3):
        chain.append([entry(offset) for offset in range(first, min(first + 3, records))])
    chain.close()
    return home / "audit"


def found(home: Path) -> list[tuple[Kind, int]]:
    report = verify(home / "audit", read_head(home / "run" / "head.json"))
    return [(problem.kind, problem.n) for problem in report.problems]


def change(folder: Path, how: Callable[[Lines], Lines]) -> None:
    (path,) = files(folder)
    path.write_bytes(b"".join(how(path.read_bytes().splitlines(keepends=True))))


def forged(line: bytes, previous: bytes | None = None, **said: object) -> bytes:
    """The line with other content; with `previous`, hashed anew after it."""
    one = json.loads(line)
    one["record"]["event"] |= said
    if previous is not None:
        one["hash"] = audit_chain.following(json.loads(previous)["hash"], one["record"])
    return ids.canonical(one).encode() + b"\n"


def test_an_untouched_chain_is_sound_over_several_files(tmp_path: Path) -> None:
    """Records, file headers and heads fit together; the hash is the one the page describes."""
    folder = written(tmp_path, file_bytes_max=600)
    assert len(files(folder)) > 2
    report = verify(folder, read_head(tmp_path / "run" / "head.json"))
    assert report.sound
    assert report.records == 9 + len(files(folder))
    assert report.head == report.anchor
    first = json.loads(files(folder)[0].read_bytes().splitlines()[0])
    canonical = json.dumps(first["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    import hashlib

    assert first["hash"] == hashlib.sha256(b"\0" + bytes(32) + canonical).hexdigest()


def test_an_altered_record_is_named(tmp_path: Path) -> None:
    """One byte of evidence changed."""
    folder = written(tmp_path)
    change(folder, lambda lines: [*lines[:4], forged(lines[4], transition="approved"), *lines[5:]])
    assert found(tmp_path) == [(Kind.ALTERED, 5)]


def test_an_altered_record_that_was_hashed_anew_is_found_at_the_next(tmp_path: Path) -> None:
    """The forger knows how hashes are made, and stops there."""
    folder = written(tmp_path)
    change(folder, lambda lines: [*lines[:4], forged(lines[4], lines[3], transition="approved"), *lines[5:]])
    assert found(tmp_path) == [(Kind.ALTERED, 6)]


def test_a_chain_rewritten_to_its_end_differs_from_the_head_outside(tmp_path: Path) -> None:
    """The forger hashes everything after it anew."""
    folder = written(tmp_path)

    def rewrite(lines: Lines) -> Lines:
        out = [*lines[:4], forged(lines[4], lines[3], transition="approved")]
        for line in lines[5:]:
            out.append(forged(line, out[-1]))
        return out

    change(folder, rewrite)
    assert found(tmp_path) == [(Kind.ALTERED, 10)]


@pytest.mark.parametrize("gone", [0, 3, 4])
def test_a_deleted_record_is_named(tmp_path: Path, gone: int) -> None:
    """Whichever it is, the first too."""
    folder = written(tmp_path)
    change(folder, lambda lines: [*lines[:gone], *lines[gone + 1 :]])
    assert found(tmp_path) == [(Kind.DELETED, gone + 1)]


def test_a_deleted_file_is_named(tmp_path: Path) -> None:
    """A file in the middle."""
    folder = written(tmp_path, file_bytes_max=600)
    gone = files(folder)[1]
    gone.unlink()
    (problem,) = found(tmp_path)
    assert problem == (Kind.DELETED, int(gone.stem.removeprefix("chain-")))


def test_reordered_records_are_named(tmp_path: Path) -> None:
    """Two neighbours, and one moved far."""
    folder = written(tmp_path)
    change(folder, lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]])
    assert (Kind.REORDERED, 5) in found(tmp_path)
    change(folder, lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]])
    assert found(tmp_path) == []
    change(folder, lambda lines: [*lines[:2], *lines[3:8], lines[2], *lines[8:]])
    assert (Kind.REORDERED, 3) in found(tmp_path)


def test_an_inserted_record_is_named(tmp_path: Path) -> None:
    """A copy, and a forged one that takes a number."""
    folder = written(tmp_path)
    change(folder, lambda lines: [*lines[:5], lines[4], *lines[5:]])
    assert found(tmp_path) == [(Kind.INSERTED, 5)]
    change(folder, lambda lines: [*lines[:5], *lines[6:]])
    change(folder, lambda lines: [*lines[:4], forged(lines[4], lines[3], transition="x"), *lines[4:]])
    assert (Kind.INSERTED, 5) in found(tmp_path)


@pytest.mark.parametrize("left", [0, 1, 7, 9])
def test_a_truncated_chain_is_found_by_the_head_outside(tmp_path: Path, left: int) -> None:
    """Whole records, nothing torn; the file gone, too."""
    folder = written(tmp_path)
    change(folder, lambda lines: lines[:left])
    assert found(tmp_path) == [(Kind.TRUNCATED, left)]
    with pytest.raises(StateBroken, match=r"ends at record|changed"):
        opened(tmp_path)


def test_a_missing_head_is_said(tmp_path: Path) -> None:
    """Without it a missing end could not be found."""
    written(tmp_path)
    (tmp_path / "run" / "head.json").unlink()
    assert found(tmp_path) == [(Kind.UNANCHORED, 10)]


def test_a_head_noted_earlier_is_checked(tmp_path: Path) -> None:
    """An outsider's note of number and hash holds, or the record is named."""
    folder = written(tmp_path)
    anchor = read_head(tmp_path / "run" / "head.json")
    fourth = json.loads(files(folder)[0].read_bytes().splitlines()[3])
    assert verify(folder, anchor, [Head(4, fourth["hash"])]).sound
    (problem,) = verify(folder, anchor, [Head(4, "0" * 64)]).problems
    assert (problem.kind, problem.n, problem.where) == (Kind.ALTERED, 4, "chain-000000000001.jsonl:4")


def test_a_head_noted_earlier_counts_beside_the_one_in_the_home(tmp_path: Path) -> None:
    """Who may write both folders rewrote everything, to as many records; the note is of the same number."""
    written(tmp_path)
    noted = read_head(tmp_path / "run" / "head.json")
    assert noted is not None
    other = tmp_path / "other"
    chain = opened(other)
    chain.append([entry(offset, case="another") for offset in range(9)])
    chain.close()
    anchor = read_head(other / "run" / "head.json")
    assert verify(other / "audit", anchor).sound
    (problem,) = verify(other / "audit", anchor, [noted]).problems
    assert (problem.kind, problem.n) == (Kind.ALTERED, noted.n)


@pytest.mark.parametrize(
    ("genuine", "beside"),
    [
        (b'"case_id":"case-3"', b'"case_id":"case-0","case_id":"case-3"'),
        (b'"n":5,', b'"n":5,"note":"seen",'),
        (b'"n":5,', b'"n":5.5,'),
        (b'"kind":"audit"', b'"kind":NaN,"kind":"audit"'),
        (b'"kind":"audit"', b'"x":%s"kind":"audit"' % (b"[" * 100_000)),
    ],
)
def test_what_is_put_beside_a_genuine_record_is_named(genuine: bytes, beside: bytes, tmp_path: Path) -> None:
    """A field that stands twice, or that no hash covers, is read by somebody."""
    folder = written(tmp_path)
    change(folder, lambda lines: [*lines[:4], lines[4].replace(genuine, beside), *lines[5:]])
    assert found(tmp_path) == [(Kind.ALTERED, 5)]


def test_the_rest_is_verified_after_a_break(tmp_path: Path) -> None:
    """Two places, two names."""
    folder = written(tmp_path)
    change(
        folder,
        lambda lines: [*lines[:2], b"garbage\n", *lines[3:6], forged(lines[6], transition="x"), *lines[7:]],
    )
    assert found(tmp_path) == [(Kind.ALTERED, 3), (Kind.ALTERED, 7)]


def test_what_is_repeated_is_chained_once(tmp_path: Path) -> None:
    """By place, also after a restart, also when a later file holds nothing of that partition."""
    chain = opened(tmp_path, file_bytes_max=600)
    assert chain.append([entry(0), entry(1), entry(7, partition=1)]) == 3
    assert chain.append([entry(0), entry(1), entry(2)]) == 1
    for offset in range(3, 9):
        chain.append([entry(offset)])
    chain.close()
    again = opened(tmp_path, file_bytes_max=600)
    assert again.append([entry(7, partition=1), entry(8), entry(9)]) == 1
    assert again.positions == {"audit.recorded.v1/0": 10, "audit.recorded.v1/1": 8}
    again.close()
    assert found(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_line_that_a_crash_cut_is_removed_and_written_again(tmp_path: Path, cut: int) -> None:
    """Bytes after the last head are what a killed writer left; verify says nothing of them."""
    folder = written(tmp_path, 3)
    (path,) = files(folder)
    sound = path.read_bytes()
    chain = opened(tmp_path)
    head = (tmp_path / "run" / "head.json").read_bytes()
    chain.append([entry(3), entry(4)])
    chain.close()
    path.write_bytes(path.read_bytes()[:-cut])
    (tmp_path / "run" / "head.json").write_bytes(head)
    assert found(tmp_path) == []
    chain = opened(tmp_path)
    chain.append([entry(3), entry(4)])
    chain.close()
    assert found(tmp_path) == []
    assert path.read_bytes().startswith(sound)
    assert verify(folder, None).records == 6


def test_a_crash_at_the_first_bytes_of_a_file_is_no_break(tmp_path: Path) -> None:
    """The header of a new file was cut: the file is begun again."""
    folder = written(tmp_path, 3)
    (folder / "chain-000000000005.jsonl").write_bytes(b'{"hash":"ab')
    chain = opened(tmp_path)
    assert chain.append([entry(3)]) == 1
    chain.close()
    assert found(tmp_path) == []


def test_a_writer_does_not_continue_a_chain_that_was_changed(tmp_path: Path) -> None:
    """It stops instead of covering the change with new records."""
    folder = written(tmp_path)
    change(folder, lambda lines: [*lines[:4], forged(lines[4], transition="approved"), *lines[5:]])
    with pytest.raises(StateBroken, match="changed after record 4"):
        opened(tmp_path)


def test_there_is_one_writer(tmp_path: Path) -> None:
    """The second is refused while the first lives."""
    chain = opened(tmp_path)
    with pytest.raises(StateBroken, match="another process writes"):
        opened(tmp_path)
    chain.close()
    opened(tmp_path).close()


@pytest.mark.parametrize("continued", [False, True])
def test_a_full_disk_leaves_the_chain_as_it_was(
    continued: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, not corrupted; the same records are taken when there is room. continued: by a later writer."""
    chain = opened(tmp_path)
    chain.append([entry(0)])
    if continued:
        chain.close()
        chain = opened(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            chain.append([entry(1), entry(2)])
    assert chain.append([entry(1), entry(2)]) == 2
    chain.close()
    assert found(tmp_path) == []


def test_a_disk_that_takes_no_new_file_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the next file of the chain nor the head outside: it is tried again, and each record stands once."""
    chain = opened(tmp_path, file_bytes_max=1)
    chain.append([entry(0)])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for refused in ("open", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, refused, full)
            with pytest.raises(Unavailable, match="No space left"):
                chain.append([entry(1), entry(2)])
    assert chain.append([entry(1), entry(2)]) == 0
    assert read_head(tmp_path / "run" / "head.json") == chain.head  # its end is missed from here on
    assert chain.append([entry(1), entry(2), entry(3)]) == 1
    chain.close()
    assert found(tmp_path) == []


def test_another_kafka_begins_another_count_in_the_same_chain(tmp_path: Path) -> None:
    """Offsets of one cluster say nothing about another's; the hashes go on."""
    opened_first = opened(tmp_path)
    opened_first.append([entry(5)])
    opened_first.close()
    chain = opened(tmp_path, cluster="cluster-2")
    assert chain.append([entry(0), entry(1)]) == 2
    chain.close()
    assert found(tmp_path) == []
    assert len(files(tmp_path / "audit")) == 2


def test_a_case_is_shown_whole_and_in_order(tmp_path: Path) -> None:
    """Every record of it, over all files, and nothing of another case."""
    chain = opened(tmp_path, file_bytes_max=400)
    for offset in range(6):
        chain.append([entry(offset, case="a" if offset % 2 else "b")])
    chain.close()
    lines = list(audit_chain.of_case(tmp_path / "audit", "a"))
    assert [line.record["place"]["offset"] for line in lines] == [1, 3, 5]


def test_a_whole_id_is_never_taken_for_the_beginning_of_another(tmp_path: Path) -> None:
    """Whoever asks for a beginning is given all that begin so."""
    chain = opened(tmp_path)
    chain.append([entry(offset, case=case) for offset, case in enumerate(("abc-1", "abc-10", "xyz", "abc-1"))])
    chain.close()
    folder = tmp_path / "audit"
    assert [line.record["place"]["offset"] for line in audit_chain.of_case(folder, "abc-1")] == [0, 3]
    assert [line.record["place"]["offset"] for line in audit_chain.of_case(folder, "abc")] == [0, 1, 3]
    assert [line.record["place"]["offset"] for line in audit_chain.of_case(folder, "x")] == [2]
    assert audit_chain.of_case(folder, "bc-1") == []


def test_a_partition_that_kafka_cannot_say_anything_of_is_no_witness_that_nothing_was_chained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked for the group's offsets it may answer for each partition on its own: the chain waits for a true answer."""

    class Witness:
        def __init__(self, *_: object, **__: object) -> None: ...

        def list_topics(self, **_: object) -> SimpleNamespace:
            return SimpleNamespace(topics={AUDIT.reads[0].name: SimpleNamespace(partitions=[0])})

        def committed(self, places: list[TopicPartition], **_: object) -> list[SimpleNamespace]:
            error = KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT)
            return [SimpleNamespace(topic=one.topic, partition=0, offset=-1001, error=error) for one in places]

        def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
            return 0, 100

        def close(self) -> None: ...

    monkeypatch.setattr(audit, "Consumer", Witness)
    with pytest.raises(Unavailable):
        audit.check_witness(KafkaSettings(), {})
