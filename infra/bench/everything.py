"""`aios bench all`: every figure anew, on a system of its own in a temporary home, kept in infra/bench/results.

Enters: a machine on which nothing else runs. Leaves: the figures of each benchmark. Guaranteed: the system is stopped
and its home removed, whatever happens; the first benchmark that fails ends it.
"""

from __future__ import annotations

import os
import tempfile

import click

from aios.infra.bench.system import aios, up

OF_A_SYSTEM = ("idle", "gateway", "pipeline", "scale")
BY_THEMSELVES = ("stage", "replay", "inference")


@click.command("all")
def everything() -> None:
    """Run those of one machine, and keep their figures. Not workflow, peers, laws, letters and cases."""
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as home:
        os.environ["AIOS_HOME"] = home
        os.environ["AIOS_TRACING__SAMPLE_RATIO"] = "0.01"
        with up():
            for name in OF_A_SYSTEM:
                _bench(name)
    del os.environ["AIOS_HOME"]  # it is gone
    for name in BY_THEMSELVES:
        _bench(name)


def _bench(name: str) -> None:
    click.echo(f"\naios bench {name}")
    aios("bench", name, "--keep")
