"""`aios prove matrix`: a whole system of its own, broken in every way that applies, and judged.

Enters: which rounds, none for all, less those left out. Leaves: progress with the time that is left, the report (of
some rounds only where --into says), written anew after each round, and 1 where something that must hold did not, or
where a fault proves nothing: it was not done, or no event was accepted meanwhile. Guaranteed: what a machine cannot do
at all (move clocks without a compiler) is said before anything starts, and left out only by name; nothing of the home
in AIOS_HOME is touched; its processes and folders are gone at the end (--keep leaves the folders, with every log).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from aios.infra import ending, output
from aios.infra.bench import machine
from aios.infra.output import FAILED, fail
from aios.infra.prove import matrix as proof
from aios.infra.prove import report
from aios.infra.prove.faults import ClockMoved
from aios.infra.prove.judged import Result
from aios.infra.prove.stand import compiled
from aios.schemas.errors import AiosError

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.argument("rounds", nargs=-1)
@click.option("--without", multiple=True, metavar="ROUND", help="Leave a round out: clock, where no C compiler is.")
@click.option(
    "--into", type=click.Path(path_type=Path), help="Folder of the report; of the whole, infra/prove/results."
)
@click.option("--keep", is_flag=True, help="Leave the system's folder, with its logs.")
@click.option("--list", "listed", is_flag=True, help="Say which rounds there are, and how long they take.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def matrix(
    *, rounds: tuple[str, ...], without: tuple[str, ...], into: Path | None, keep: bool, listed: bool, as_json: bool
) -> None:
    """Do every fault to every stage of a system under load, and judge it: about 33 minutes on two cores."""
    known = {one.name: one for one in proof.rounds()}
    if unknown := sorted({*rounds, *without} - known.keys()):
        fail(f"no such round: {', '.join(unknown)}; there are: {', '.join(known)}")
    wanted = [one for one in known.values() if (not rounds or one.name in rounds) and one.name not in without]
    if listed:
        _list(wanted, as_json=as_json)
        return
    folder = Path(tempfile.mkdtemp(prefix="aios-prove-"))
    began = time.monotonic()

    def say(what: str) -> None:
        click.echo(f"{(time.monotonic() - began) / 60:5.1f} min  {what}", err=True)

    asked = (*rounds, *(word for one in without for word in ("--without", one)))
    into = into or (None if asked else RESULTS)

    def keep_so_far(result: Result) -> None:
        if into is not None:
            report.write(result, into, _machine(), asked)

    try:
        _require_compiler(wanted, folder)
        with ending.in_order():
            result = proof.run(folder, wanted, say, after_each=keep_so_far)
    except AiosError as error:
        keep = True
        fail(f"{error}\nwhat it left is in {folder}")
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        output.one(report.plain(result, _machine()), as_json=True)
    else:
        click.echo("\n".join((report.ABOVE, "", *report.table(result))))
        for each in report.unproven(result):
            click.echo(f"not proven: {each}")
    if into is not None:
        click.echo(f"the report: {into / 'matrix.md'}", err=True)
    if keep:
        click.echo(f"logs: {folder}", err=True)
    if result.violated or result.unproven:
        raise click.exceptions.Exit(FAILED)


def _list(wanted: Sequence[proof.Round], *, as_json: bool) -> None:
    found = [
        {"round": one.name, "faults": len(one.faults), "minutes": round(proof.expected_s([one]) / 60, 1)}
        for one in wanted
    ]
    output.rows(found, ("round", "faults", "minutes"), as_json=as_json, none="every round is left out")


def _require_compiler(wanted: Sequence[proof.Round], folder: Path) -> None:
    """Where clocks shall move. Said now, and not after half an hour."""
    moving = [one.name for one in wanted if any(isinstance(fault, ClockMoved) for fault in one.faults)]
    if moving and compiled(folder / "clock.so") is None:
        left_out = " ".join(f"--without {name}" for name in moving)
        fail(f"no C compiler (cc) is here, which moves clocks: install one, or leave that out: {left_out}")


def _machine() -> str:
    """In words."""
    found = machine.describe()
    return f"{found['cores']} cores ({found['cpu']}), {found['memory_gib']} GiB"
