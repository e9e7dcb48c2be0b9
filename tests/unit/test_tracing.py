"""One trace a case: headers that are derived, spans that all stages agree to keep, files with a bound."""

from __future__ import annotations

import asyncio
import json
import shutil
import timeit
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.schemas import ids
from aios.schemas.models import TimerFired
from aios.streams import tracing
from aios.streams.config import Settings, TracingSettings

EVENT = TimerFired(timer_id="t", case_id="c", due_at=1, fired_at=2)
CASE = ids.case_id("demo", "document.triage", "k")
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID = GIVEN.split("-")[1]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_process", tracing._Tracing())


def start(home: Path, process: str = "plan", slot: int = 0, **changed: Any) -> None:
    tracing.start(Settings(home=home, tracing=TracingSettings(**changed)), process, slot)


def headers(traceparent: str = "", **changed: Any) -> dict[str, str]:
    given: dict[str, Any] = {
        "event_id": "e1",
        "source": "/aios/plan",
        "subject": CASE,
        "tenant": "demo",
        "traceparent": traceparent,
        "time_ms": 1_700_000_000_007,
    }
    found = tracing.envelope(EVENT, **given | changed)
    return {name: (value or b"").decode() for name, value in found}


def test_a_record_carries_cloudevents_in_binary_mode() -> None:
    """Names, types and the trace as it came; what is empty is left out."""
    assert headers(GIVEN) == {
        "ce_specversion": "1.0",
        "ce_id": "e1",
        "ce_source": "/aios/plan",
        "ce_type": "timer.fired.v1",
        "ce_time": "2023-11-14T22:13:20.007Z",
        "ce_subject": CASE,
        "content-type": "application/avro",
        "traceparent": GIVEN,
        "aios-tenant": "demo",
    }
    assert not {"ce_subject", "aios-tenant"} & headers(subject="", tenant="").keys()


@given(st.integers(-(1 << 70), 1 << 70))
def test_any_clock_gives_a_time(time_ms: int) -> None:
    """A producer's timestamp may be anything; the header is always RFC 3339."""
    said = headers(time_ms=time_ms)["ce_time"]
    assert (len(said), said[10], said[-1]) == (24, "T", "Z")


def test_without_a_trace_every_stage_derives_the_same_one() -> None:
    """From the case; from the event where there is none. Never by chance."""
    first = headers()["traceparent"]
    assert first == headers(event_id="e2", source="/aios/admit")["traceparent"] == tracing.new_traceparent(CASE)
    assert first != headers(subject="another")["traceparent"]
    assert headers(subject="")["traceparent"] == tracing.new_traceparent("e1")


@pytest.mark.parametrize(
    "broken",
    [
        "x",
        GIVEN.upper(),
        GIVEN[:-1],
        GIVEN + "0",
        "ff" + GIVEN[2:],
        GIVEN.replace(TRACE_ID, "0" * 32),
        GIVEN.replace("00f067aa0ba902b7", "0" * 16),
        GIVEN + "\n",
    ],
)
def test_a_broken_traceparent_is_as_none(broken: str) -> None:
    """It is a stranger's text: not passed on, not raised about."""
    assert headers(broken)["traceparent"] == tracing.new_traceparent(CASE)


def test_a_span_is_written_with_its_place_in_the_trace(tmp_path: Path) -> None:
    """Records written inside are its children; times, names and what was noted are kept; no error without one."""
    start(tmp_path)
    with tracing.span("plan.step", GIVEN, topic="case.admitted.v1", offset=7) as outer:
        written = headers(GIVEN)["traceparent"]
        outer.note(skipped=True)
    start(tmp_path, "classify", 1)
    with tracing.span("classify", written, offset=9):
        pass
    with tracing.span("elsewhere", GIVEN.replace(TRACE_ID, "1" * 32)):
        pass
    first, second = tracing.read(tmp_path, TRACE_ID)
    assert (first.process, first.slot, first.name, first.parent_id) == ("plan", 0, "plan.step", "00f067aa0ba902b7")
    assert first.attributes == {"topic": "case.admitted.v1", "offset": 7, "skipped": True}
    assert (second.process, second.slot, second.parent_id) == ("classify", 1, first.span_id)
    assert written == f"00-{TRACE_ID}-{first.span_id}-01"
    assert (first.error, first.duration_ms >= 0) == ("", True)
    assert first.start_ms <= second.start_ms


def test_a_failed_span_says_the_class_and_not_the_text(tmp_path: Path) -> None:
    """Messages of other libraries quote payload; the error goes on to whoever handles it."""
    start(tmp_path)
    with pytest.raises(ValueError, match="secret"), tracing.span("plan", GIVEN):
        raise ValueError("secret letter")
    (one,) = tracing.read(tmp_path, TRACE_ID)
    assert one.error == "ValueError"
    assert all("secret" not in file.read_text() for file in (tmp_path / "traces").iterdir())


def test_the_same_work_done_again_is_the_same_span(tmp_path: Path) -> None:
    """A redelivered record writes the same headers, and its trace shows it once."""
    start(tmp_path)
    seen = set()
    for _ in range(2):
        with tracing.span("admit", GIVEN, topic="t", partition=1, offset=2):
            seen.add(headers(GIVEN)["traceparent"])
    assert len(seen) == 1
    assert len(tracing.read(tmp_path, TRACE_ID)) == 1


def test_work_on_a_record_without_a_trace_joins_the_one_it_begins(tmp_path: Path) -> None:
    """admit learns the case, and with it the trace, only while it works."""
    start(tmp_path)
    with tracing.span("admit", "", offset=1) as begun:
        written = headers("")["traceparent"]
        assert headers("", subject="")["traceparent"] == written
    with tracing.span("admit", "", offset=2):
        pass  # nothing was written: no trace to belong to
    trace_id = tracing.new_traceparent(CASE).split("-")[1]
    assert written == f"00-{trace_id}-{begun.span_id}-01"
    (one,) = tracing.read(tmp_path, trace_id)
    assert (one.span_id, one.parent_id) == (begun.span_id, "")


def test_tasks_do_not_see_each_other_s_spans() -> None:
    """A worker has many records in hand at once."""

    async def work(number: int) -> bool:
        parent = f"00-{number:032x}-00f067aa0ba902b7-01"
        with tracing.span("classify", parent, offset=number) as own:
            await asyncio.sleep(0)
            return own.span_id in headers(parent)["traceparent"] and tracing.current_trace() == own.trace_id

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(work(number) for number in range(1, 20)))

    assert all(asyncio.run(all_of_them()))
    assert tracing.current_trace() == ""


@pytest.mark.parametrize(("ratio", "low", "high"), [(0.0, 0, 0), (0.01, 1, 60), (0.5, 900, 1100), (1.0, 2000, 2000)])
def test_sampling_is_by_the_trace_id_alone(tmp_path: Path, ratio: float, low: int, high: int) -> None:
    """Two processes keep the same traces; the flag says so, whatever the producer's said."""
    start(tmp_path, sample_ratio=ratio)
    traces = [tracing.new_traceparent(str(number)) for number in range(2000)]
    kept = [one for one in traces if tracing.is_kept(one.split("-")[1])]
    assert low <= len(kept) <= high
    assert all(one.endswith("-01") is (one in set(kept)) for one in traces[:200])
    start(tmp_path, "other", sample_ratio=ratio)
    assert [one for one in traces if tracing.is_kept(one.split("-")[1])] == kept
    for one in traces[:200]:
        with tracing.span("s", one):
            assert headers(one[:-2] + "01")["traceparent"][-2:] == one[-2:]
    written = sum(len(tracing.read(tmp_path, one.split("-")[1])) for one in kept if one in traces[:50])
    assert written == len([one for one in kept if one in traces[:50]])


def test_a_trace_file_is_bounded_and_keeps_the_newer_half(tmp_path: Path) -> None:
    """Whatever is written; a broken line, as a killed process leaves it, hides no other."""
    start(tmp_path, file_bytes_max=1 << 16)
    for number in range(1, 1_001):
        with tracing.span("s", f"00-{number:032x}-00f067aa0ba902b7-01", text="x" * 10_000):
            pass
    files = sorted((tmp_path / "traces").iterdir())
    assert [file.name for file in files] == ["plan.0.jsonl", "plan.0.jsonl.1"]
    assert sum(file.stat().st_size for file in files) <= 1 << 16
    with files[0].open("a") as torn:
        torn.write('{"trace_id": "' + f"{1000:032x}")
    (one,) = tracing.read(tmp_path, f"{1000:032x}")
    assert len(str(one.attributes["text"])) == tracing.ATTRIBUTE_CHARS_MAX
    assert tracing.read(tmp_path, f"{1:032x}") == []
    assert json.loads(files[1].read_text().splitlines()[0])["name"] == "s"


def test_work_goes_on_where_its_spans_cannot_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The folder is removed, and then cannot be made: said once, no error in the work, and no file of another's is
    closed. Where there is room again, spans are kept again."""
    start(tmp_path, file_bytes_max=1 << 16)
    folder = tmp_path / "traces"

    def work(count: int) -> None:
        for number in range(count):
            with tracing.span("s", GIVEN, number=number, text="x" * 200):
                pass

    shutil.rmtree(folder)
    folder.write_text("no folder")
    work(200)
    with (tmp_path / "other").open("wb", buffering=0) as other:
        work(200)
        assert other.write(b"still open") == len(b"still open")
    assert len(caplog.records) == 1
    folder.unlink()
    work(1)
    assert len(tracing.read(tmp_path, TRACE_ID)) == 1


def test_headers_and_unkept_spans_are_cheap(tmp_path: Path) -> None:
    """They are on the way of every record: some microseconds, bounded generously for a busy machine."""
    start(tmp_path, sample_ratio=0.0)

    def work() -> None:
        with tracing.span("s", GIVEN, topic="t", offset=1):
            headers(GIVEN)

    assert min(timeit.repeat(work, number=500, repeat=5)) / 500 < 100e-6
