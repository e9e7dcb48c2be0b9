"""`aios bench inference`: what the inference plane makes of an engine, all in one run, medians of its rounds.

Enters: nothing; it starts what it needs in a temporary folder and stops it. Leaves: tables, and with --keep
infra/bench/results/inference.json and inference.svg. The parts, each with the engine by itself measured in the same
rounds, turn about:

    rates     pool through Kafka ÷ offline LLM.generate (LLM.embed) of the same texts: η; the same at 1, 4, 16 and 64
              at once; and the loops that people write, one by one and n by n
    lanes     P99 of who waits, alone and while bulk saturates; bulk alone and while somebody waits; with each lane's
              worker on a core of its own, and with one worker for both (as shipped)
    prefix    what it brings that requests of one beginning follow each other, where the KV cache holds not all
    path      what the whole path, from an HTTP caller to his answer, adds to a direct call, and where it goes; both
              count from when a call was due; cases that go to people are told apart

Times through Kafka are the broker's, from a request's record to its answer's; a rate is all answers over the time from
the first request to the last answer, so that start and end count, as they do for the engine by itself. Broker and
client run on the same cores as the workers; where the lanes have a core each, on that of bulk work, alone and together.
Rejected: the rate in the middle of a run (what a user waits for has a beginning and an end). Ray Data LLM beside
it: its `llm` extra (ray 2.60.0) wants vllm 0.27.0 with CUDA, which does not install beside the engine for CPUs that is
measured here; another engine would be what is compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

from aios.inference_workers.engines.engine import ENVIRONMENT
from aios.infra import output
from aios.infra.bench import inference_figures as figures
from aios.infra.bench import inference_path, machine, plot
from aios.infra.bench.inference_pools import LANES, Alone, Flow, Flowed, Stand
from aios.infra.bench.system import up
from aios.infra.commands.model import WORKERS_PYTHON
from aios.infra.output import FAILED, fail
from aios.infra.running import running

AT_ONCE = (1, 4, 16, 64)
PARTS = ("rates", "lanes", "prefix", "path")
LOOPS = (1, 16, 64)  # the last: as many as a pool has in hand
PATH_PER_S = 20.0
INTERACTIVE_PER_S = 10.0
BULK_AT_ONCE = 128
INTERACTIVE_CORE, BULK_CORE = 0, 1
LANES_S = 7  # of one measurement
PATH_COUNT = 200
PREFIX_EACH = 3  # requests of each beginning
PREFIX_S_MAX = 1800.0


@click.command()
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Of each; medians count.")
@click.option("--size", type=click.FloatRange(0.05, 20), default=1.0, show_default=True, help="Of each measurement.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Default: all parts.")
@click.option("--keep", is_flag=True, help="Keep the figures and the plot in infra/bench/results.")
@click.option("--name", default="inference", show_default=True, help="Of the files that are kept.")
def inference(*, rounds: int, size: float, only: tuple[str, ...], keep: bool, name: str) -> None:
    """What pools make of their engine: η, concurrency, lanes, beginnings, the whole path, and loops beside them."""
    if not WORKERS_PYTHON.exists():
        fail("the workers' environment .venv-inference is not there: run `make setup`")
    began = time.monotonic()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        # Before anything reads the settings, which are read once: the system of `path` is the one that is asked there.
        os.environ |= {"AIOS_HOME": str(Path(folder) / "path"), "AIOS_TRACING__SAMPLE_RATIO": "0.01"}
        run = Run(Path(folder), rounds, size)
        for part in only or PARTS:
            found[part] = getattr(run, part)()
    for title, columns, rows in figures.tables(found):
        click.echo(f"\n{title}")
        output.rows(rows, columns, as_json=False, none="nothing was measured")
    click.echo(f"\n{time.monotonic() - began:.0f} s")
    if keep:
        command = " ".join(
            ["aios bench inference", f"--rounds {rounds} --size {size:g}", *(f"--only {o}" for o in only)]
        )
        machine.keep(name, command, found)
        picture = machine.RESULTS / f"{name}.svg"
        picture.write_text(plot.svg(figures.panels(found), f"{machine.describe()['cpu']}; {command}"), encoding="utf-8")
        click.echo(f"drawn in {picture}")


class Run:
    """One run of the benchmark. size: 1 for what is published; less to try it."""

    def __init__(self, folder: Path, rounds: int, size: float) -> None:
        self._folder = folder
        self._rounds = rounds
        self._size = size

    # ── rates ──

    def rates(self) -> dict[str, Any]:
        stand = Stand(self._folder / "rates")
        try:
            return {
                "generate": self._rates(stand, "generate", {1: 5, 4: 12, 16: 32, 64: 64}, loops=LOOPS),
                "classify": self._rates(stand, "classify", {1: 200, 4: 400, 16: 1000, 64: 3000}, loops=LOOPS),
            }
        finally:
            stand.close()

    def _rates(self, stand: Stand, process: str, counts: Mapping[int, int], loops: Sequence[int]) -> dict[str, Any]:
        alone = self._alone(stand, process)
        found: dict[str, list[float]] = {}
        try:
            with stand.worker(process):
                for number in range(self._rounds):
                    _say(f"{process}: round {number + 1} of {self._rounds}")
                    for name, per_s in self._round(stand, alone, process, counts, loops).items():
                        found.setdefault(name, []).append(per_s)
        finally:
            alone.close()
        return figures.rates(found, AT_ONCE)

    def _round(
        self, stand: Stand, alone: Alone, process: str, counts: Mapping[int, int], loops: Sequence[int]
    ) -> dict[str, float]:
        """Requests a second by what answers them."""
        found: dict[str, float] = {}

        def note(what: str, per_s: float) -> None:
            found[what] = per_s
            _say(f"  {what}: {per_s:.1f}/s")

        for at_once in AT_ONCE:
            count = self._count(counts[at_once])
            said = alone.do("steady", first=stand.numbers(count), count=count, at_once=at_once)
            note(f"engine/{at_once}", count / said["seconds"])
            note(f"kafka/{at_once}", self._through(stand, process, count, at_once).per_s)
        count = self._count(counts[AT_ONCE[-1]])
        note("offline", count / alone.do("offline", first=stand.numbers(count), count=count)["seconds"])
        note("pool", self._through(stand, process, count, None).per_s)
        for at_once in loops:
            count = self._count(counts[at_once]) // at_once * at_once or at_once
            first = stand.numbers(count)
            taken, written = stand.topic_of_requests(process, first, count)
            topic = {"topic": taken, "out": written, **stand.addresses}
            said = alone.do("loop", first=first, count=count, at_once=at_once, **topic)
            note(f"loop/{at_once}", count / said["seconds"])
        return found

    def _through(self, stand: Stand, process: str, count: int, at_once: int | None) -> Flowed:
        (flowed,) = stand.run([Flow(process=process, first=stand.numbers(count), count=count, at_once=at_once)])
        return flowed

    def _alone(self, stand: Stand, process: str) -> Alone:
        _say(f"{process}: loading its model, by itself and in a worker")
        return Alone(process, stand.environment, stand.log(f"{process}.alone"))

    def _count(self, count: int) -> int:
        return max(2, round(count * self._size))

    # ── lanes ──

    def lanes(self) -> dict[str, Any]:
        return {"a core each": self._lanes_apart(), "one worker": self._lanes_together()}

    def _lanes_apart(self) -> dict[str, Any]:
        _say("lanes: a worker for each, each on a core of its own")
        with (
            _on(BULK_CORE),  # and so are all that this process starts
            contextlib.closing(Stand(self._folder / "lanes-apart")) as stand,
            stand.worker("classify", ("interactive",), core=INTERACTIVE_CORE),
            stand.worker("classify", ("bulk",), core=BULK_CORE),
        ):
            return self._lanes(stand)

    def _lanes_together(self) -> dict[str, Any]:
        _say("lanes: one worker for both")
        with contextlib.closing(Stand(self._folder / "lanes")) as stand, stand.worker("classify", LANES):
            return self._lanes(stand)

    def _lanes(self, stand: Stand) -> dict[str, Any]:
        seconds = max(2.0, LANES_S * self._size)
        waits: dict[str, list[float]] = {"alone": [], "with bulk": []}
        bulk: dict[str, list[float]] = {"alone": [], "with who waits": []}
        for number in range(self._rounds):
            (alone,) = stand.run([self._waiting(stand, seconds)])
            together, beside = stand.run([self._waiting(stand, seconds), self._bulk(stand)])
            count = max(20, round(beside.per_s * seconds / 2))
            (by_itself,) = stand.run([self._bulk(stand, count)])
            waits["alone"] += alone.took_ms
            waits["with bulk"] += together.took_ms
            bulk["alone"].append(by_itself.per_s)
            bulk["with who waits"].append(beside.per_s)
            _say(f"  round {number + 1} of {self._rounds}")
        found = {name: machine.percentiles(took) for name, took in waits.items()}
        rates = {name: round(median(rates), 1) for name, rates in bulk.items()}
        return {
            "interactive_ms": found,
            "interactive_requests": len(waits["alone"]),
            "bulk_per_s": rates,
            "p99_ratio": round(found["with bulk"]["p99"] / found["alone"]["p99"], 2),
            "bulk_share": round(rates["with who waits"] / rates["alone"], 2),
        }

    def _waiting(self, stand: Stand, seconds: float) -> Flow:
        count = round(seconds * INTERACTIVE_PER_S)
        return Flow(
            process="classify",
            lane="interactive",
            first=stand.numbers(count),
            count=count,
            per_s=INTERACTIVE_PER_S,
        )

    def _bulk(self, stand: Stand, count: int | None = None) -> Flow:
        return Flow(process="classify", first=stand.numbers(10**5), count=count, at_once=BULK_AT_ONCE)

    # ── prefix ──

    def prefix(self) -> dict[str, Any]:
        _say("prefix: loading the model that writes")
        asked = json.dumps({"rounds": self._rounds, "each": self._count(PREFIX_EACH)})
        done = subprocess.run(
            [WORKERS_PYTHON, "-m", "aios.infra.bench.inference_prefix", asked],
            env={**ENVIRONMENT, **os.environ, "PYTHONSAFEPATH": "1"},
            stdout=subprocess.PIPE,
            timeout=PREFIX_S_MAX,
            check=False,
        )
        if done.returncode:
            fail("the measurement of beginnings failed; its last words stand above", FAILED)
        return figures.prefix(json.loads(done.stdout))

    # ── path ──

    def path(self) -> dict[str, Any]:
        """The direct call first, on a machine that does nothing else."""
        count = max(20, self._count(PATH_COUNT))
        took_ms = self._direct(count)
        _say("path: starting the whole system")
        with up():
            system = running()
            inference_path.measure(system, 20, PATH_PER_S)  # the first ones pay for what is lazy
            ways = []
            for number in range(self._rounds):
                _say(f"path: round {number + 1} of {self._rounds}, {count} messages at {PATH_PER_S:g}/s")
                ways += inference_path.measure(system, count, PATH_PER_S)
            found = inference_path.figures_of(system, ways)
        whole, direct = found["parts"][-1], machine.percentiles(took_ms)
        return {
            **found,
            "direct_ms": direct,
            "adds_ms": {name: round(whole[name] - direct[name], 1) for name in ("p50", "p95", "p99")},
        }

    def _direct(self, count: int) -> list[float]:
        _say("path: the direct call, by itself")
        environment = os.environ | {"PYTHONSAFEPATH": "1"}
        alone = Alone("classify", environment, self._folder / "path.alone.log")
        try:
            took: list[float] = []
            for number in range(self._rounds):
                took += alone.do("paced", first=number * count, count=count, per_s=PATH_PER_S)["took_ms"]
            return took
        finally:
            alone.close()


@contextlib.contextmanager
def _on(core: int) -> Iterator[None]:
    """This thread, and what it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _say(what: str) -> None:
    click.echo(what, err=True)
