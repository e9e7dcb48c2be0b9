"""`aios prove`: the laws of delivery, shown on a running system while things break."""

from __future__ import annotations

import click

from aios.infra.lazy import Lazy, Place

PROOFS = {
    "load": Place("prove.commands", "load", "Send numbered cases, repeats and poison to the running system."),
    "verify": Place("prove.commands", "verify", "Judge from topics and outcome store alone what became of them."),
    "matrix": Place("prove.proving", "matrix", "Break a system of its own in every way, under load; about 33 minutes."),
    "planted": Place("prove.commands", "planted", "Violations planted on purpose: the verifier catches each."),
    "simulate": Place(
        "prove.simulation.commands", "simulate", "The product's own code in simulated worlds, each from a seed."
    ),
    "mutations": Place(
        "prove.simulation.commands", "mutations", "Mistakes put into the product, and the seed that finds each."
    ),
    "soak": Place("prove.soak", "soak", "Many cases through a system of its own, with an engine that only echoes."),
}


@click.group(cls=Lazy, places=PROOFS)
def group() -> None:
    """Prove: nothing lost, nothing twice. Exit code 1 on any violation."""
