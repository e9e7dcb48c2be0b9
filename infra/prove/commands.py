"""`aios prove load|verify|planted` on the running system of this home.

Enters: a running system, a folder for the journal. Leaves: what was sent, and the verifier's table. Exit code 1 on any
violation, and when the system does not come to rest in time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from aios.infra import output
from aios.infra.prove import load as generator
from aios.infra.prove import planted as plants
from aios.infra.prove import verify as verifier
from aios.infra.prove.findings import SAYS, Findings, Law
from aios.infra.prove.journal import Kind
from aios.infra.prove.load import FAILPOINTS, Sent
from aios.infra.prove.reading import of_running

LINE_S = 5.0  # between lines of progress
SETTLE_S_MAX = 900.0
FIGURES = ("accepted", "cases", "decided", "commands", "answers wasted", "records read")


@click.command()
@click.option("--rate", type=click.FloatRange(0.1, 100_000), default=100.0, show_default=True, help="Events a second.")
@click.option("--count", type=click.IntRange(1, 10_000_000), help="Events in all; default: until --seconds are over.")
@click.option("--seconds", type=click.FloatRange(1, 86_400), default=60.0, show_default=True)
@click.option("--http", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share sent to the gateway.")
@click.option(
    "--segfault",
    type=click.FloatRange(0, 10),
    default=0.0,
    show_default=True,
    help=f"Weight of events that end the process which decodes them, if it has AIOS_FAILPOINTS={FAILPOINTS}.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="For the journal; a new one."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def load(
    *,
    rate: float,
    count: int | None,
    seconds: float,
    http: float,
    segfault: float,
    seed: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Send numbered cases, repeats, conflicts, slow ones and poison, at a set rate, over both roads."""
    mix = {**generator.MIX, Kind.SEGFAULT: segfault}
    sent = generator.run(
        of_running(),
        folder,
        rate_per_s=rate,
        count=count,
        seconds=None if count else seconds,
        mix=mix,
        http_share=http,
        seed=seed,
        hold=Lines().sent,
    )
    output.one(counted(sent) if as_json else told(sent), as_json=as_json)


@click.command()
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Of a load; default: all that there is.",
)
@click.option(
    "--running", "is_running", is_flag=True, help="Judge now, while it works: only what must hold at every moment."
)
@click.option(
    "--bound",
    type=click.FloatRange(0.1),
    help=f"Seconds within which each stage must go on after a fault; they stand in the folder's {verifier.FAULTS}.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def verify(folder: Path | None, is_running: bool, bound: float | None, as_json: bool) -> None:
    """Judge from topics and the outcome store alone what became of every event."""
    if bound is not None and not (folder and verifier.faults(folder)):
        raise click.UsageError(
            f'--bound needs a --folder in which faults are noted: {verifier.FAULTS}, a line {{"fault": "kill -9", '
            '"stage": "plan", "at": Unix ms} for each'
        )
    addresses = of_running()
    if not is_running and not verifier.settle(addresses, SETTLE_S_MAX):
        output.fail(f"the system did not come to rest within {SETTLE_S_MAX:.0f} s")
    show(verifier.check(addresses, folder, drained=not is_running, bound_s=bound), folder, as_json=as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def planted(as_json: bool) -> None:
    """Show that the verifier can fail: violations planted into a sound history, and whether it catches them."""
    found = []
    for name, plant in plants.PLANTED.items():
        times = plants.caught(plant).violations.get(plant.law, 0)
        found.append({"planted": name, "law": str(plant.law), "what": plant.what, "caught": "yes" if times else "NO"})
    output.rows(found, ("planted", "law", "what", "caught"), as_json=as_json, none="nothing is planted")
    if any(row["caught"] == "NO" for row in found) or not plants.sound().judge().sound:
        output.fail("the verifier does not catch what it must, or finds fault with a sound history")


def told(sent: Sent) -> dict[str, Any]:
    """What a load did, as lines."""
    seconds = max(0.001, (sent.ended_ms - sent.began_ms) / 1000)
    return {
        "sent": f"{sent.total} events in {seconds:.1f} s: {sent.total / seconds:.0f}/s",
        "kinds": ", ".join(f"{kind} {count}" for kind, count in sent.sent.most_common()),
        "acknowledged": sent.acked,
        "refused": ", ".join(f"{status or 'no answer'} {count}" for status, count in sorted(sent.refused.items())),
        "never answered": sent.unknown,
    }


def counted(sent: Sent) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "run": sent.run,
        "began_ms": sent.began_ms,
        "ended_ms": sent.ended_ms,
        "sent": sent.total,
        "kinds": dict(sent.sent),
        "acknowledged": sent.acked,
        "refused": dict(sent.refused),
        "never_answered": sent.unknown,
    }


def show(
    findings: Findings, folder: Path | None, *, as_json: bool, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """The table, the laws and the figures; exits 1 on any violation. more: what else the JSON says."""
    table = verifier.rows(findings, folder)
    if as_json:
        judged = {"table": table, "violations": dict(findings.violations)}
        output.one({**more, **summary(findings), **judged}, as_json=True)
    else:
        output.rows(table, tuple(table[0]), as_json=False, none="")
        click.echo()
        output.rows(
            [{"law": law, "says": says, "violations": _count(findings, law)} for law, says in SAYS.items()],
            ("law", "says", "violations"),
            as_json=False,
            none="",
        )
        click.echo()
        output.one(summary(findings), as_json=False)
    if not findings.sound:
        lines = [f"{law}  {what}" for law, examples in findings.examples.items() for what in examples]
        output.fail("violations:\n" + "\n".join(lines))


def _count(findings: Findings, law: Law) -> int | str:
    is_judged = law is not Law.PROGRESS or findings.has_bound
    return findings.violations.get(law, 0) if is_judged else "not judged"


def summary(findings: Findings) -> dict[str, Any]:
    """The figures beside the table."""
    part = findings.part
    figures = (findings.accepted, part.cases, part.decided, part.commands, part.wasted, part.records)
    return {
        **dict(zip(FIGURES, figures, strict=True)),
        "events": ", ".join(f"{what} {count}" for what, count in sorted(part.events.items())),
        "dead letters": ", ".join(f"{what} {count}" for what, count in sorted(part.letters.items())) or "none",
        "longest waits": ", ".join(f"{stage} {pace.longest():.1f} s" for stage, pace in sorted(part.paces.items())),
        "judged": f"{'at rest' if findings.drained else 'while it runs'}, in {findings.took_s:.0f} s and"
        f" {findings.memory_mib} MiB",
    }


class Lines:
    """A line of progress every LINE_S, to stderr: what is found goes to stdout, for scripts too."""

    def __init__(self) -> None:
        self._next = 0.0

    def sent(self, sent: Sent) -> bool:
        """For load.run(hold=…): holds nothing up."""
        self.say(f"sent {sent.total}, acknowledged {sent.acked}")
        return False

    def say(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_S
            click.echo(what, err=True)
