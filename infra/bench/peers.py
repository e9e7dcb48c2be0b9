"""`aios bench peers`: our stateful stage beside what else one would take for the same work.

Enters: nothing; the peers are fetched into .cache/peers at the first run, with pinned versions (Quix Streams into an
environment of its own, Kafka Streams by Maven). Leaves: a table and three ratios. The work is that of
entrants/wire.py; every output is checked (race.py). Peers run as their documentation says for exactly once, with the
larger batches they ask for; the broker shares the machine's cores with each of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aios.infra import output
from aios.infra.bench import machine, race
from aios.infra.bench.race import ENTRANTS, Entrant
from aios.infra.local.broker import REPOSITORY
from aios.infra.output import FAILED, fail

FETCHED = REPOSITORY / ".cache" / "peers"
FETCH_S_MAX = 600
UV = REPOSITORY / ".tools" / "uv" / "bin" / "uv"
ROWS = ("entrant", "records_per_s", "range", "warm_per_s", "cpu_us_per_record", "memory_mib", "ready_s")
LOOP, QUIX, STREAMS = "hand-written exactly-once loop", "Quix Streams, exactly once", "Kafka Streams, exactly_once_v2"


@click.command()
@click.option("--records", type=click.IntRange(10_000, 5_000_000), default=200_000, show_default=True)
@click.option("--runs", type=click.IntRange(1, 20), default=3, show_default=True, help="Of each; medians count.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def peers(records: int, runs: int, keep: bool) -> None:
    """Our stateful stage beside a hand-written loop, Quix Streams and Kafka Streams, on the same work."""
    entrants = [race.ours(), race.loop("eos", LOOP), _quix(), _streams()]
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        found = race.measure(Path(folder), records, runs, entrants)
    output.rows(race.shown(found), ROWS, as_json=False, none="")
    ratios = _ratios(found)
    output.one(ratios, as_json=False)
    if keep:
        machine.keep("peers", f"aios bench peers --records {records} --runs {runs}", {**found, "ratios": ratios})


def _ratios(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    own = found["aios"]
    return {
        "aios ÷ hand-written loop": round(own["records_per_s"] / found[LOOP]["records_per_s"], 2),
        "aios ÷ Quix Streams": round(own["records_per_s"] / found[QUIX]["records_per_s"], 2),
        "aios ÷ Kafka Streams, both warm": round(own["warm_per_s"] / found[STREAMS]["warm_per_s"], 2),
    }


def _quix() -> Entrant:
    python = FETCHED / "quix" / "bin" / "python"
    if not python.exists():
        _fetch(str(UV), "venv", "-q", "-p", "3.11", str(FETCHED / "quix"))
        lock = str(ENTRANTS / "quix.lock")
        _fetch(str(UV), "pip", "install", "-q", "--require-hashes", "-p", str(python), "-r", lock)
    return Entrant(name=QUIX, command=(str(python), str(ENTRANTS / "quix.py")))


def _streams() -> Entrant:
    built = FETCHED / "streams"
    if not (built / "target" / "lib").is_dir():
        shutil.rmtree(built, ignore_errors=True)
        shutil.copytree(ENTRANTS / "streams", built)
        goals = ("package", "dependency:copy-dependencies", "-DoutputDirectory=target/lib", "-DincludeScope=runtime")
        _fetch("mvn", "-q", "-B", "-f", str(built / "pom.xml"), *goals)
    classes = os.pathsep.join((str(built / "target" / "classes"), str(built / "target" / "lib" / "*")))
    return Entrant(name=STREAMS, command=("java", "-Xms512m", "-Xmx2g", "-cp", classes, "RunningMean"))


def _fetch(*command: str) -> None:
    click.echo(f"fetching: {command[0].rsplit('/', 1)[-1]} {command[1]} …", err=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S_MAX, check=False)
    if done.returncode:
        fail(f"{command[0]} failed: {(done.stderr or done.stdout)[-1500:]}", FAILED)
