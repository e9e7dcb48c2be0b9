"""What a soak says of memory and disk: what grows with every case is found, what fills once is not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from aios.infra.output import FAILED
from aios.infra.prove import growth, kept, load, soak, verify
from aios.infra.prove.commands import Lines
from aios.infra.prove.findings import Findings, Part
from aios.infra.prove.growth import MIB, Look
from aios.infra.prove.journal import Kind
from aios.infra.prove.reading import Addresses

CASES = 100_000
FIGURES = {"growth": "as it was", "processes": [{"process": "audit"}], "disk": [{"disk": "kafka"}]}
ADDRESSES = Addresses(kafka="nowhere:1", registry="", valkey="redis://nowhere:1")


def seen(name: str, sizes: Sequence[float]) -> list[Look]:
    """At each tenth of the cases; sizes in MiB."""
    return [Look(CASES * at // 10, {name: round(size * MIB)}) for at, size in enumerate(sizes)]


def is_beyond(name: str, sizes: Sequence[float]) -> bool:
    return growth.growths(seen(name, sizes), growth.MEMORY)[name].is_beyond


def test_memory_that_each_case_leaves_behind_is_found() -> None:
    """Of a stage that remembers nothing: 4 KiB a case."""
    assert is_beyond("audit", [100 + at * CASES / 10 / 256 for at in range(11)])


@pytest.mark.parametrize(
    "sizes",
    [
        [110, 212, 213, 213, 213, 213, 213, 213, 213, 213, 213],
        [302, 338, 357, 375, 378, 380, 397, 397, 404, 405, 405],
        [100, 100, 100, 100, 100, 100, 100, 100, 900, 100, 100],
        [110, 210, 210, 210, 210, 210, 210, 210, 100, 105, 110],
    ],
    ids=["fills at first", "a heap that fills", "one look out of line", "a process that died"],
)
def test_memory_that_fills_once_or_is_given_back_is_no_growth(sizes: Sequence[float]) -> None:
    assert not is_beyond("audit", sizes)


def test_what_is_remembered_of_each_case_may_grow_where_it_is_remembered() -> None:
    """300 bytes a case in plan, an outcome in Valkey; twice as much is too much there, too."""
    for name, allowed in (("plan", 300), ("valkey", 9_216)):
        sizes = [100 + at * CASES / 10 * allowed / MIB for at in range(11)]
        assert not is_beyond(name, sizes)
        assert is_beyond(name, [size + (2_000 + allowed) * CASES / 10 * at / MIB for at, size in enumerate(sizes)])
    assert is_beyond("admit", [100 + at * CASES / 10 * 9_216 / MIB for at in range(11)])


def test_nothing_is_said_of_fewer_cases_than_tell_growth_from_warming_up() -> None:
    few = [Look(cases, {"audit": cases * 100_000}) for cases in range(0, growth.CASES_MIN, 1_000)]
    assert growth.growths(few, growth.MEMORY) == {}
    assert growth.growths([*few, Look(growth.CASES_MIN, {"audit": 9 << 30})], growth.MEMORY)["audit"].is_beyond


def test_a_soak_looks_at_each_tenth_of_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """However unevenly they are decided; the last look is the one at rest."""
    watch = soak.Watch(ADDRESSES, Lines(), 1_000, lambda: {"kafka": 1})
    monkeypatch.setattr(soak, "SAMPLE_S", 0.0)
    monkeypatch.setattr(watch, "sample", lambda: None)
    for decided in (0, 99, 100, 101, 250, 450, 450, 999, 1_000):
        watch.decided = decided
        watch.look("")
    assert [look.cases for look in watch.disk] == [100, 250, 450, 999]


@pytest.mark.parametrize(("beyond", "status"), [([], 0), (["memory of audit grows"], FAILED)])
def test_a_soak_ends_with_an_error_where_something_grows_beyond_its_bound(
    beyond: Sequence[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "_announce", lambda *_: None)
    monkeypatch.setattr(soak, "_system", lambda _: nullcontext())
    monkeypatch.setattr(soak, "_soak", lambda *_: (dict(FIGURES), Findings(Part(), drained=True), beyond))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 0, "", ""))
    monkeypatch.setattr(verify, "rows", lambda *_: [{"fault": "none"}])
    monkeypatch.setattr(soak, "of_running", lambda: ADDRESSES)
    monkeypatch.setattr(kept, "missing", lambda *_: "")
    for asked in ([], ["--json"]):
        ended = CliRunner().invoke(soak.soak, asked)
        assert (ended.exit_code, "memory of audit grows" in ended.stderr) == (status, bool(beyond))
    assert json.loads(ended.stdout).items() > FIGURES.items()


def test_a_soak_ends_with_an_error_where_the_chain_lacks_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of the others is whole."""
    monkeypatch.setattr(soak, "_announce", lambda *_: None)
    monkeypatch.setattr(soak, "_system", lambda _: nullcontext())
    monkeypatch.setattr(soak, "_soak", lambda *_: (dict(FIGURES), Findings(Part(), drained=True), []))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 0, "sound", ""))
    monkeypatch.setattr(verify, "rows", lambda *_: [{"fault": "none"}])
    monkeypatch.setattr(soak, "of_running", lambda: ADDRESSES)
    monkeypatch.setattr(kept, "unchained", lambda *_: ["audit.recorded.v1/0/7"])
    ended = CliRunner().invoke(soak.soak, [])
    assert (ended.exit_code, "the first: audit.recorded.v1/0/7" in ended.stderr) == (FAILED, True)


def test_a_soak_sends_as_many_events_as_make_its_cases() -> None:
    """Those that fail at first are cases, too; of two at the same moment one is."""
    assert load.events_for(100, {Kind.GOOD: 1.0, Kind.FLAKY: 1.0}) == 100
    assert load.events_for(100, {Kind.CONCURRENT: 1.0}) == 200
    assert load.events_for(100, {Kind.GOOD: 1.0, Kind.REPEAT: 1.0}) == 200
    assert soak.USUAL[Kind.FLAKY] > 0
