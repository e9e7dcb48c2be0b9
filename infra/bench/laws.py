"""`aios bench laws`: what the laws of delivery cost, and what bad records cost, in one run on the same records.

Enters: nothing. Leaves: a table and two ratios. `naive` is a loop that holds none of the laws (entrants/loop.py): its
state is lost with it, a crash repeats its outputs, one bad record ends it. Poison: one record in a hundred is no Avro;
each becomes a dead letter in the transaction of its neighbours.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from aios.infra import output
from aios.infra.bench import machine, race
from aios.infra.bench.peers import ROWS

NAIVE = "naive loop"


@click.command()
@click.option("--records", type=click.IntRange(10_000, 5_000_000), default=200_000, show_default=True)
@click.option("--runs", type=click.IntRange(1, 20), default=3, show_default=True, help="Of each; medians count.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def laws(records: int, runs: int, keep: bool) -> None:
    """Our stateful stage beside a loop without laws, and with 1 % bad records beside none."""
    entrants = [race.loop("naive", NAIVE), race.ours(), race.ours(poison=True)]
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        found = race.measure(Path(folder), records, runs, entrants)
    output.rows(race.shown(found), ROWS, as_json=False, none="")
    own = found["aios"]["records_per_s"]
    ratios = {
        "aios ÷ naive loop": round(own / found[NAIVE]["records_per_s"], 2),
        "1 % poison ÷ none": round(found["aios, 1 % poison"]["records_per_s"] / own, 2),
    }
    output.one(ratios, as_json=False)
    if keep:
        machine.keep("laws", f"aios bench laws --records {records} --runs {runs}", {**found, "ratios": ratios})
