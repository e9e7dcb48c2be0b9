"""`aios meeting read|evaluate`: what words about a calendar are read as, and how often that is what was meant.

Enters: a text; or the labelled requests of the repository. Leaves: the wish or the question back; or shares of
agreement with every miss. Both need no running system.
"""

from __future__ import annotations

from datetime import UTC, datetime

import click

from aios.infra import output
from aios.infra.demo import calendar_truth
from aios.infra.demo.calendar_truth import Agreement, Half
from aios.infra.output import USAGE, fail
from aios.processors.meetings import zones
from aios.processors.meetings.wish import Wish
from aios.processors.meetings.words import read as understand

_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.group("meeting")
def group() -> None:
    """Requests for the calendar: read one, evaluate the reading."""


@group.command("read")
@click.argument("text")
@click.option("--zone", default="Europe/Berlin", show_default=True, help="Whose clock: an IANA name.")
@click.option("--now", default="", help="When it was said, ISO 8601; default: now.")
@_json
def read_(*, text: str, zone: str, now: str, as_json: bool) -> None:
    """What a request means, or what would be asked first."""
    try:
        zones.zone(zone)
        moment = datetime.fromisoformat(now) if now else datetime.now(UTC)
        answer = understand(text, moment if moment.tzinfo else moment.replace(tzinfo=UTC), zone)
    except (ValueError, zones.UnknownZone) as error:
        fail(str(error), USAGE)
    if isinstance(answer, Wish):
        output.one({"understood": True, **_said(answer)}, as_json=as_json)
        return
    known = _said(answer.understood) if answer.understood else {}
    output.one(
        {"understood": False, "missing": answer.missing.value, "question": answer.question, **known}, as_json=as_json
    )


def _said(wish: Wish) -> dict[str, object]:
    return wish.model_dump(mode="json", exclude_defaults=True)


@group.command()
@click.option("--half", type=click.Choice([half.value for half in Half]), default=Half.ALL.value, show_default=True)
@click.option("--misses/--no-misses", default=True, help="List what was understood otherwise, asked or guessed.")
@_json
def evaluate(*, half: str, misses: bool, as_json: bool) -> None:
    """Hold the reading against labelled requests.

    The labels are explained in infra/demo/data/calendar_truth.md.
    """
    found = calendar_truth.evaluate(Half(half))
    if as_json:
        listed = {"missed": [_miss(found, n) for n in range(len(found.misses))]} if misses else {}
        output.one({**found.plain(), **listed}, as_json=True)
        return
    plain = found.plain()
    output.one({key: value for key, value in plain.items() if key not in ("fields", "misses")}, as_json=False)
    click.echo()
    shares = found.shares()
    output.rows(
        [{"field": name, "agreement": share} for name, share in shares.items()],
        ("field", "agreement"),
        as_json=False,
        none="",
    )
    if misses:
        click.echo()
        rows = [_miss(found, n) for n in range(len(found.misses))]
        output.rows(rows, ("id", "kind", "text", "differs"), as_json=False, none="nothing was missed")


def _miss(found: Agreement, n: int) -> dict[str, str]:
    miss = found.misses[n]
    differs = "; ".join(
        f"{name}: {got or '(nothing)'}, meant {meant or '(nothing)'}" for name, (got, meant) in miss.differs.items()
    )
    return {"id": miss.id, "kind": miss.kind, "text": miss.text, "differs": differs}
