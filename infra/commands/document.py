"""`aios document read|keep|sweep|evaluate`: what documents say, the claim check, and how well reading works.

In: files. Out: facts with the places where they stand; a reference; tables. `read` and `evaluate` need no system.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from aios.infra import output
from aios.infra.output import FAILED, USAGE, fail
from aios.infra.running import load_settings
from aios.processors.reading.extract import extract
from aios.processors.reading.problem import SENTENCES
from aios.processors.reading.reader import Document, Reader
from aios.streams.document_store import BYTES_MAX, RETENTION_DAYS, QuotaUsedUp, kept_here
from aios.streams.errors import Unavailable

READ_S_MAX = 300.0
SHOWN_MAX = 20


@click.group("document")
def group() -> None:
    """Documents: read one, keep one by reference, evaluate the reading."""


@group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--text", "with_text", is_flag=True, help="Show the text that was read, too.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def read(file: Path, with_text: bool, as_json: bool) -> None:
    """What FILE says of a person, and where. Text, PDF, PNG, JPEG or TIFF."""
    opened = asyncio.run(_opened(_bytes_of(file)))
    if opened.problem:
        fail(f"{file}: {SENTENCES[opened.problem]}", FAILED)
    found = extract(opened.pages)
    if as_json:
        click.echo(
            json.dumps({"kind": found.kind, "facts": [f.model_dump(mode="json") for f in found.facts]}, indent=2)
        )
        return
    click.echo(f"{file}: {found.kind}, {opened.media_type}, {len(opened.pages)} pages")
    rows = [
        {
            "fact": fact.kind.value,
            "value": fact.value + (f" (or {fact.other})" if fact.other else ""),
            "by": fact.by.value,
            "sure": fact.sure,
            "where": ", ".join(f"page {at.page} line {at.line} [{at.start}:{at.end}]" for at in fact.places),
        }
        for fact in found.facts
    ]
    output.rows(rows, ("fact", "value", "by", "sure", "where"), as_json=False, none="it says nothing of a person")
    if with_text:
        for page in opened.pages:
            click.echo(f"\n— page {page.number}{', from a picture' if page.by_ocr else ''} —\n{page.text}")


@group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", help="Whose it is; default: the deployment's default tenant.")
def keep(file: Path, tenant: str | None) -> None:
    """Keep FILE where connectors find it; its reference.

    On another machine: POST /v1/documents.
    """
    settings = load_settings()
    try:
        click.echo(kept_here(settings).put(tenant or settings.default_tenant, _bytes_of(file)))
    except (QuotaUsedUp, Unavailable) as error:  # the folder of documents, on a disk: nothing that would be asked
        fail(str(error), FAILED)


@group.command()
@click.option("--days", type=click.IntRange(1, 3650), default=RETENTION_DAYS, show_default=True)
def sweep(days: int) -> None:
    """Forget documents handed in longer ago, now.

    The gateways do so by themselves, every hour, after the default: the topics that name them keep no longer.
    """
    try:
        gone = kept_here(load_settings()).sweep(days * 86_400.0)
    except Unavailable as error:
        fail(str(error), FAILED)
    click.echo(f"{gone} documents forgotten")


@group.command()
@click.option("--count", type=click.IntRange(10, 20_000), default=500, show_default=True, help="Applications.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--forms",
    "half",
    type=click.Choice(list("abcdefghijk")),
    default="i",
    show_default=True,
    help="Which set of forms.",
)
@click.option("--scans/--no-scans", default=False, show_default=True, help="A part as pictures; seconds each.")
@click.option("--errors", type=click.IntRange(min=0), default=SHOWN_MAX, show_default=True, help="Shown of each kind.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def evaluate(count: int, seed: int, half: str, *, scans: bool, errors: int, as_json: bool) -> None:
    """Draw applications, put them through, say what was right.

    Reading was developed on the forms of a to i, and never for those of j and k.
    The same seed draws the same applications.
    """
    from aios.infra.demo import onboarding

    async def measured() -> onboarding.Measured:
        async with onboarding.opened() as asked:
            return await onboarding.measure(asked, count, seed, half, scans=scans)

    found = asyncio.run(measured())
    facts, outcomes = onboarding.tables(found)
    if as_json:
        told = {"summary": onboarding.summary(found), "facts": facts, "outcomes": outcomes}
        click.echo(json.dumps({**told, "errors": found.errors, "misread": found.misread}, indent=2, ensure_ascii=False))
        return
    output.rows(facts, ("fact", "count", "right", "wrong", "missed", "right_share"), as_json=False, none="no facts")
    columns = ("application", "count", "right", "right_share", "approved", "returned", "person")
    output.rows(outcomes, columns, as_json=False, none="no applications")
    for line in found.misread[:errors]:
        click.echo(f"misread: {line}")
    for line in found.errors[:errors]:
        click.echo(f"error: {line}")
    left = max(0, len(found.misread) - errors) + max(0, len(found.errors) - errors)
    if left:
        click.echo(f"… and {left} more: --errors {max(len(found.misread), len(found.errors))}")
    click.echo(json.dumps(onboarding.summary(found)))


def _bytes_of(file: Path) -> bytes:
    if file.stat().st_size > BYTES_MAX:
        fail(f"{file} has more than {BYTES_MAX} bytes", USAGE)
    return file.read_bytes()


async def _opened(content: bytes) -> Document:
    reader = Reader()
    try:
        return await reader.read(content, s_max=READ_S_MAX)
    finally:
        await reader.close()
