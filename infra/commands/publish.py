"""`aios publish FILE`: the rows of a CSV or JSON-lines file as events, straight to Kafka.

Enters: a file, the workflow that its rows are for, and which column is which field. Leaves: events on the workflow's
source topic, in the bulk lane; rows that cannot be one go to FILE.rejected.jsonl, each with its line and its reason.
Guaranteed: a row is the same case however often it is published (its key is a column, else of the file's content and
the row's number); interrupted, the same command goes on behind the last batch that the broker has; memory is bounded
by a batch. Exit 1 when any row was rejected.
Rejected: the gateway as a detour (a file has no one who waits), remembering rows one by one (repeats are harmless).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aios.infra import output, rows
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING, USAGE, fail
from aios.infra.rows import Row
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch, Unavailable
from aios.streams import carrying, deployments, documents, ingest, tenants, whole
from aios.streams.bodies import SourceBody
from aios.streams.config import Settings
from aios.streams.deployments import Catalogue
from aios.streams.errors import ConfigError
from aios.streams.http.problem import Problem
from aios.streams.inputs import Input
from aios.streams.kafka import Delivery, cluster_id
from aios.streams.pool_files import Lane
from aios.streams.record import Outgoing
from aios.streams.wall_clock import wall_ms

BATCH_MAX = 500  # rows on their way at once
TOLD_MAX = 20  # rejected rows on the terminal; all of them are in the file
SOURCE = "/aios/publish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is published, and how. columns: field → column; empty: every field that has a column of its name."""

    file: Path
    digest: str
    rows: int
    workflow: str
    taken: Input
    tenant: str
    columns: Mapping[str, str]
    key: str
    rate: int

    @property
    def rejected_file(self) -> Path:
        return self.file.with_name(f"{self.file.name}.rejected.jsonl")

    def name(self, cluster: str) -> str:
        """The same for the same file, options and Kafka."""
        return ids.derive("publish", cluster, self.digest, self.workflow, self.tenant, self.key, str(self.columns))


@dataclass(slots=True)
class Done:
    """How far a publication is. rows: read, the rejected among them. rejected_bytes: of the file of rejected rows."""

    rows: int = 0
    rejected: int = 0
    rejected_bytes: int = 0


@dataclass(slots=True)
class Batch:
    outs: list[Outgoing] = field(default_factory=list)
    wrong: list[tuple[Row, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.outs) + len(self.wrong)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--workflow", required=True, help="What the rows are for; `aios workflow list` lists them.")
@click.option("--tenant", help="Whose cases they are; default: this home's own tenant.")
@click.option("--set", "sets", multiple=True, metavar="FIELD=COLUMN", help="Default: columns named like fields.")
@click.option("--key", default="", metavar="COLUMN", help="Idempotency key; default: the file's content and row.")
@click.option("--rate", type=click.IntRange(1, 1_000_000), help="Rows a second; default: as fast as Kafka takes them.")
@click.option("--from-start", is_flag=True, help="Publish rows again that went out before; they are the same cases.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def publish(
    *,
    file: Path,
    workflow: str,
    tenant: str | None,
    sets: tuple[str, ...],
    key: str,
    rate: int | None,
    from_start: bool,
    as_json: bool,
) -> None:
    """Publish the rows of FILE (.csv, or .jsonl with an object a line) as events."""
    shipped = Catalogue().input_of(workflow)
    if shipped is not None:  # a mistake of the command needs no running system to be seen
        _check_file(file, _columns(sets, shipped.body), key, shipped.body)
    with connected() as (settings, codec):
        taken = _taken(settings, codec, workflow)
        columns = _columns(sets, taken.body)
        _check_file(file, columns, key, taken.body)
        tenant = tenant or settings.default_tenant
        try:
            found = tenants.read(settings.kafka, codec).get(tenant)
            if found is None or not found.active:
                fail(f"there is no active tenant {tenant}: `aios tenant add {tenant}` makes it", NOT_FOUND)
            plan = Plan(
                file=file,
                digest=rows.digest(file),
                rows=sum(1 for _ in rows.read(file)),
                workflow=workflow,
                taken=taken,
                tenant=tenant,
                columns=columns,
                key=key,
                rate=rate or 0,
            )
            before, done = asyncio.run(_Publication(settings, codec, plan, from_start=from_start).run())
        except KeyboardInterrupt:
            fail("interrupted; the same command goes on where this one stopped", FAILED)
        except Unavailable as error:
            fail(f"{error}; the same command goes on where this one stopped", NOT_RUNNING)
        except OSError as error:  # where the file is, nobody may write what was rejected, or the disk is full
            fail(f"{error.filename or file}: {error.strerror}")
    _tell(plan, before, done, as_json=as_json)


class _Publication:
    """One run of a plan."""

    def __init__(self, settings: Settings, codec: Codec, plan: Plan, *, from_start: bool) -> None:
        self._plan = plan
        self._codec = codec
        self._memory = settings.home / "run" / "publish" / f"{plan.name(cluster_id(settings.kafka))}.json"
        self._delivery = Delivery(settings.kafka, client_id="aios.publish")
        self._done = Done() if from_start else _recall(self._memory)

    async def run(self) -> tuple[int, Done]:
        """Rows that were done before, and all that are done now. Raises Unavailable."""
        before = self._done.rows
        try:
            with _rejected(self._plan, self._done) as rejected, _bar(self._plan.rows) as advance:
                advance(before)
                started = time.monotonic()
                for batch in self._batches():
                    await self._delivery.deliver_all(batch.outs)
                    self._note(batch, rejected)
                    advance(self._done.rows)
                    await self._pace(started, self._done.rows - before)
        finally:
            await asyncio.to_thread(self._delivery.close)
        return before, self._done

    def _batches(self) -> Iterator[Batch]:
        size = min(BATCH_MAX, max(1, self._plan.rate // 4)) if self._plan.rate else BATCH_MAX
        batch = Batch()
        for row in rows.read(self._plan.file):
            if row.number <= self._done.rows + len(batch):
                continue
            try:
                batch.outs.append(outgoing(row, self._plan, self._codec))
            except (Problem, SchemaMismatch) as error:
                batch.wrong.append((row, str(error)))
            if len(batch) >= size:
                yield batch
                batch = Batch()
        if len(batch):
            yield batch

    def _note(self, batch: Batch, rejected: BinaryIO) -> None:
        """The broker has the batch: remember it, rejected rows first."""
        for row, why in batch.wrong:
            if self._done.rejected < TOLD_MAX:
                click.echo(f"{self._plan.file}:{row.line}: {why}", err=True)
            self._done.rejected += 1
            told = {"line": row.line, "reason": why, "row": row.fields}
            rejected.write(json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        rejected.flush()
        self._done.rejected_bytes = rejected.tell()
        self._done.rows += len(batch)
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        whole.write(self._memory, json.dumps(asdict(self._done)))

    async def _pace(self, started: float, count: int) -> None:
        if self._plan.rate:
            await asyncio.sleep(max(0.0, count / self._plan.rate - (time.monotonic() - started)))


def outgoing(row: Row, plan: Plan, codec: Codec) -> Outgoing:
    """The row's event, keyed by its idempotency key. Raises Problem or SchemaMismatch, saying what is wrong."""
    if row.wrong:
        raise Problem("invalid_body", row.wrong)
    key = _key(row, plan)
    fields = _fields(row, plan)
    body = ingest.validate(fields, plan.taken.body, from_text=rows.is_csv(plan.file))
    submitted = ingest.submit(
        body, plan.taken, tenant=plan.tenant, workflow=plan.workflow, idempotency_key=key, lane=Lane.BULK
    )
    return carrying.outgoing(
        codec,
        plan.taken.topic,
        submitted.event,
        key=key,
        event_id=submitted.event_id,
        source=SOURCE,
        subject=submitted.case_id,
        tenant=plan.tenant,
        time_ms=wall_ms(),
    )


def _fields(row: Row, plan: Plan) -> dict[str, Any]:
    columns = plan.columns or {name: name for name in plan.taken.body.model_fields}
    found = {name: row.fields[column] for name, column in columns.items() if column in row.fields}
    if rows.is_csv(plan.file):
        for name in plan.taken.nested & found.keys():
            found[name] = _parsed(name, found[name])
    return found


def _parsed(name: str, cell: str) -> Any:
    """A list or record in a CSV file's cell is written as JSON. Raises Problem."""
    try:
        return ingest.parse(cell.encode()) if cell.strip() else []
    except Problem as error:
        raise Problem("invalid_body", f"{name}: {error}") from None


def _key(row: Row, plan: Plan) -> str:
    if not plan.key:
        return ids.derive("row", plan.digest, str(row.number))
    key = str(row.fields.get(plan.key, ""))
    if not 1 <= len(key) <= documents.NAME_CHARS_MAX:
        is_ = f"one of {len(key)}" if key else "none"
        raise Problem("invalid_body", f"{plan.key}: {is_}; a key has 1 to {documents.NAME_CHARS_MAX} characters")
    return key


def _taken(settings: Settings, codec: Codec, workflow: str) -> Input:
    """What the workflow takes, shipped or deployed. Exits with NOT_FOUND."""
    try:
        with deployments.loaded(settings.kafka, codec) as tables:
            catalogue = Catalogue(tables)
            found = catalogue.input_of(workflow)
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
    if found is None:
        fail(f"there is no workflow {workflow}; there is {', '.join(catalogue.names())}", NOT_FOUND)
    return found


def _columns(sets: Sequence[str], body: type[SourceBody]) -> dict[str, str]:
    """Field → column of --set. Exits with USAGE."""
    columns: dict[str, str] = {}
    for each in sets:
        name, _, column = each.partition("=")
        if name in body.owned:
            fail(f"--set {name}: cannot be set, it {body.owned[name]}", USAGE)
        if name not in body.model_fields or not column:
            fail(f"--set {each}: expected FIELD=COLUMN; fields are {', '.join(body.model_fields)}", USAGE)
        if name in columns:
            fail(f"--set {name} stands twice: {columns[name]}, {column}", USAGE)
        columns[name] = column
    return columns


def _check_file(file: Path, columns: Mapping[str, str], key: str, body: type[SourceBody]) -> None:
    """A column that a CSV file does not have is a mistake of the command, not of every row. Exits with USAGE."""
    if file.suffix.lower() not in rows.KINDS:
        fail(f"{file}: expected {' or '.join(rows.KINDS)}", USAGE)
    if not rows.is_csv(file):
        return
    try:
        there = rows.header(file)
    except ConfigError as error:
        fail(str(error), USAGE)
    if not there:
        fail(f"{file} is empty: its first line names its columns", USAGE)
    if twice := sorted({name for name in there if there.count(name) > 1}):
        fail(f"{file} has more than one column {', '.join(map(repr, twice))}", USAGE)
    if missing := [name for name in (*columns.values(), *filter(None, [key])) if name not in there]:
        fail(f"{file} has no column {', '.join(missing)}; it has {', '.join(there)}", USAGE)
    for name, one in body.model_fields.items():
        if one.is_required() and name not in (columns or there):
            has = ", ".join(there)
            fail(f"no column is named {name}, which every event has: --set {name}=COLUMN; {file} has {has}", USAGE)


def _recall(memory: Path) -> Done:
    try:
        return Done(**json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Done()


@contextmanager
def _rejected(plan: Plan, done: Done) -> Iterator[BinaryIO]:
    """The file of rejected rows, behind those that are remembered and still there; removed if empty."""
    with os.fdopen(os.open(plan.rejected_file, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as opened:
        there = os.fstat(opened.fileno()).st_size
        kept = done.rejected_bytes if there >= done.rejected_bytes else 0  # moved away: it begins anew
        opened.truncate(kept)
        opened.seek(kept)
        yield opened
        is_empty = opened.tell() == 0
    if is_empty:
        plan.rejected_file.unlink(missing_ok=True)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar where a terminal is; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("published"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("published", total=total)
        yield lambda done: progress.update(task, completed=done)


def _tell(plan: Plan, before: int, done: Done, *, as_json: bool) -> None:
    said: dict[str, Any] = {
        "rows": done.rows,
        "published": done.rows - done.rejected,
        "before": before,
        "rejected": done.rejected,
        "rejected_file": str(plan.rejected_file) if plan.rejected_file.exists() else None,
        "tenant": plan.tenant,
        "workflow": plan.workflow,
    }
    if as_json:
        output.one(said, as_json=True)
    else:
        click.echo(f"{said['published']} of {done.rows} rows are in Kafka as cases of {plan.tenant}")
        if before:
            click.echo(f"{before} of the rows went out before; --from-start publishes them again, as the same cases")
    if done.rejected:
        rows_were = "row was" if done.rejected == 1 else "rows were"
        gone = "their file is gone, --from-start writes it again"
        fail(f"{done.rejected} {rows_were} rejected: {said['rejected_file'] or gone}", FAILED)
