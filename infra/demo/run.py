"""The demo: starts a system, publishes real texts and bad records, watches what comes out, repairs one, stops.

Enters: a home in which nothing runs. Leaves: the printed figures, all read from topics; with `keep`, the running
system. Guaranteed: figures are counted, not expected; a text that did not come to rest in SETTLE_S_MAX is a
failure with its name; whatever happens, a system that is not kept is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from aios.infra import ending
from aios.infra.demo import report, texts
from aios.infra.demo.texts import Text
from aios.infra.demo.watch import Seen, Watch
from aios.infra.local.home import Home
from aios.infra.output import FAILED, fail
from aios.infra.running import load_settings, running
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, DocumentReceived
from aios.schemas.registry import RegistrySource
from aios.streams.config import Settings
from aios.streams.kafka import Delivery
from aios.streams.record import Outgoing
from aios.streams.topics import DOCUMENT_RECEIVED

WORKFLOW = "document.triage"
SETTLE_S_MAX = 900.0
REPLAY_S_MAX = 60.0
POLL_S = 0.3
LINE_S = 5.0  # between lines of progress where no terminal is
AIOS = (sys.executable, "-m", "aios.infra")
STAGES = ("published", "admitted", "classified", "summarised", "waiting for a person", "decided", "dead letters")


@dataclass(frozen=True, slots=True)
class Published:
    """by_case: the texts. at_ms: broker time of each text's record, by case id. bad: record keys."""

    by_case: Mapping[str, Text]
    at_ms: Mapping[str, int]
    bad: tuple[str, ...]


def run(*, keep: bool) -> None:
    """Raises click's Exit when something did not come to rest, or something runs here already."""
    console = Console()
    free_home()
    with system(console, keep=keep, AIOS_FAILPOINTS=texts.FAILPOINTS):
        found = running()
        _work(console, found.settings)
    if keep:
        _next(console, found.gateway)


def free_home() -> None:
    """Exits where a system runs here already."""
    settings = load_settings()
    if Home(settings.home).is_held():
        fail(f"a system runs in {settings.home} already: stop it with `aios down`, or set AIOS_HOME to another folder")


def own_aios() -> str:
    """What a command begins with that is to find the home of this demo."""
    home = f"AIOS_HOME={shlex.quote(os.environ['AIOS_HOME'])} " if "AIOS_HOME" in os.environ else ""
    return f"{home}.venv/bin/aios"


@contextlib.contextmanager
def system(console: Console, *, keep: bool, **settings: str) -> Iterator[None]:
    """A system in this home, with these settings in its environment."""
    console.rule("starting the system")
    started = time.monotonic()
    environment = {**os.environ, **settings}
    with ending.in_order():
        try:
            if subprocess.run([*AIOS, "up", "--detach"], env=environment, check=False).returncode:
                raise click.exceptions.Exit(FAILED)
            console.print(f"ready after {time.monotonic() - started:.0f} s")
            yield
        except BaseException:  # Ctrl-C too: no system is left behind
            subprocess.run([*AIOS, "down"], check=False)
            raise
    if not keep:
        console.rule("stopping")
        if subprocess.run([*AIOS, "down"], check=False).returncode:
            raise click.exceptions.Exit(FAILED)


def _work(console: Console, settings: Settings) -> None:
    name = f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    registry = RegistrySource(settings.registry.url)
    codec = Codec(registry)
    watch = Watch(settings.kafka, codec)
    try:
        foreign = registry.register("demo.invoice-value", texts.FOREIGN_SCHEMA)
        console.rule("publishing 200 customer texts and 6 bad records")
        console.print("one of these ends each process that decodes it: a failpoint armed for this run raises SIGSEGV")
        published = asyncio.run(_publish(settings, codec, foreign, name))
        done = _follow(console, watch, published)
        report.show(console, published.by_case, watch.seen, published.at_ms)
        if not done:
            fail(f"not everything came to rest within {SETTLE_S_MAX:.0f} s: {_missing(published, watch.seen)}")
        _replay(console, settings, codec, watch, name)
    finally:
        watch.close()
        registry.close()


async def _publish(settings: Settings, codec: Codec, foreign: int, name: str) -> Published:
    """All at once: the texts, with the bad records spread among them."""
    loaded = texts.load(name)
    bad = texts.bad_records(codec, foreign, name)
    outgoing: list[Outgoing] = [text.outgoing(codec) for text in loaded]
    for number, record in enumerate(bad, start=1):
        outgoing.insert(number * len(outgoing) // (len(bad) + 1), record)
    delivery = Delivery(settings.kafka, client_id="aios.demo")
    try:
        places = await delivery.deliver_all(outgoing)
    finally:
        delivery.close()
    by_key = {text.key: text for text in loaded}
    by_case, at_ms = {}, {}
    for record, place in zip(outgoing, places, strict=True):
        key = (record.key or b"").decode()
        if key in by_key:
            case = ids.case_id(settings.default_tenant, WORKFLOW, key)
            by_case[case], at_ms[case] = by_key[key], place.timestamp_ms
    return Published(by_case, at_ms, tuple((record.key or b"").decode() for record in bad))


def _follow(console: Console, watch: Watch, published: Published) -> bool:
    """Show progress until everything has come to rest; False when it has not in time."""
    deadline = time.monotonic() + SETTLE_S_MAX
    total = len(published.by_case) + len(published.bad)
    next_line = 0.0
    with Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else _quiet() as live:
        while time.monotonic() < deadline:
            watch.poll(POLL_S)
            if isinstance(live, Live):
                live.update(_progress(watch.seen, total))
            elif time.monotonic() >= next_line:
                next_line = time.monotonic() + LINE_S
                counts = ", ".join(f"{stage} {count}" for stage, count in _counts(watch.seen, total))
                console.print(counts, soft_wrap=True, highlight=False)
            if watch.seen.at_rest(published.by_case) == len(published.by_case) and all(
                key in watch.seen.dead for key in published.bad
            ):
                return True
    return False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    yield None


def _counts(seen: Seen, total: int) -> list[tuple[str, int]]:
    return [(stage, total if stage == "published" else seen.counts[stage]) for stage in STAGES]


def _progress(seen: Seen, total: int) -> Table:
    table = Table(box=None, show_header=False)
    for stage, count in _counts(seen, total):
        table.add_row(stage, str(count), "█" * (40 * count // total))
    return table


def _missing(published: Published, seen: Seen) -> str:
    cases = [t.key for case, t in published.by_case.items() if case not in seen.decided and case not in seen.waiting]
    records = [key for key in published.bad if key not in seen.dead]
    return ", ".join([*cases[:5], *records]) + (f" and {len(cases) - 5} more" if len(cases) > 5 else "")


def _replay(console: Console, settings: Settings, codec: Codec, watch: Watch, name: str) -> None:
    """Repair the record with the foreign contract and bring it back, as the two principals of this home would."""
    key = texts.key(name, texts.REPAIRED)
    letter = watch.seen.dead[key]["aios.dlq.id"]
    console.rule("replaying a repaired dead letter")
    repaired = codec.encode(DOCUMENT_RECEIVED, DocumentReceived(text=texts.REPAIRED_TEXT))
    why = "written again with the topic's own contract"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "repaired.avro"
        file.write_bytes(repaired)
        _aios(console, "dlq", "edit", letter, "--bytes", str(file), "--why", why)
    _aios(console, "dlq", "approve", letter)
    _aios(console, "replay", "plan", "--id", letter, "--why", why)
    job = _newest_job()
    _aios(console, "replay", "approve", job)
    _aios(console, "replay", "run", job)
    case = ids.case_id(settings.default_tenant, WORKFLOW, key)
    _until(watch, lambda: case in watch.seen.decided or case in watch.seen.waiting)
    decision = watch.seen.decided.get(case)
    if decision is None:
        waiting = watch.seen.waiting.get(case)
        fail(f"the replayed record was not decided: {f'it waits for a person: {waiting.reasons}' if waiting else case}")
    console.print(_decision(decision), markup=False, highlight=False, soft_wrap=True)


def _aios(console: Console, *words: str) -> None:
    """Show a command, and run it. Raises click's Exit when it fails."""
    shown = shlex.join([Path(word).name if word.startswith("/") else word for word in words])
    console.print(f"$ aios {shown}", markup=False, highlight=False, soft_wrap=True)
    if subprocess.run([*AIOS, *words], check=False).returncode:
        raise click.exceptions.Exit(FAILED)


def _newest_job() -> str:
    listed = subprocess.run([*AIOS, "replay", "list", "--json"], check=True, capture_output=True)
    return str(json.loads(listed.stdout)[0]["job_id"])


def _until(watch: Watch, seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + REPLAY_S_MAX
    while not seen() and time.monotonic() < deadline:
        watch.poll(POLL_S)


def _decision(decision: CaseDecided) -> str:
    return (
        f"case {decision.case_id}: {decision.outcome} to {decision.label!r} ({decision.confidence:.2f}) by"
        f" {decision.decided_by}, because {', '.join(decision.reasons)}; models {', '.join(decision.models)}"
    )


def _next(console: Console, gateway: str) -> None:
    aios = own_aios()
    console.rule("it runs; what next")
    for who, what in (
        ("a producer", f"{aios} publish infra/demo/data/messages.csv --workflow {WORKFLOW} --set text=text"),
        (
            "",
            f'eval "$({aios} env)"; curl -s -H "Authorization: Bearer $KEY" -H "Content-Type: application/json"'
            """ -H "Prefer: wait=20" -d '{"text": "My card has not arrived yet"}'"""
            f" {gateway}/v1/workflows/{WORKFLOW}/cases",
        ),
        ("a reviewer", f"{aios} review list"),
        ("an operator", f"{aios} dlq groups; dlq/README.md goes on from there, to all of them replayed"),
        ("an analyst", f"{aios} query automation_rate"),
        ("to stop", f"{aios} down"),
    ):
        console.print(f"{who:<12} {what}", markup=False, soft_wrap=True)
