"""`aios prove simulate|mutations`: many worlds, each from a seed; and mistakes that they must find."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

import click

from aios.infra import output
from aios.infra.prove.simulation import mutations as mistakes
from aios.infra.prove.simulation import simulate as worlds
from aios.infra.prove.simulation.simulate import Result

CHUNK = 8  # seeds a process takes at a time
PROGRESS_S = 5.0
SHOWN_MAX = 20  # failing seeds named in words


class Seeds(click.ParamType):
    """FROM..TO, both included."""

    name = "FROM..TO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d+)\.\.(\d+)", str(value))
        if found is None or int(found[1]) > int(found[2]):
            self.fail(f"{value!r} is not FROM..TO, for example 0..999", param, ctx)
        return int(found[1]), int(found[2])


@dataclass(slots=True)
class _Sum:
    """Of all seeds so far."""

    seeds: int = 0
    records: int = 0
    records_min: int = 0
    crashes: int = 0
    crashes_min: int = 0
    failed: list[Result] | None = None
    thin: list[int] = field(default_factory=list)
    counts: Counter[str] | None = None
    passed: Counter[str] | None = None

    def add(self, result: Result) -> None:
        first = not self.seeds
        self.seeds += 1
        self.records += result.records
        self.crashes += result.crashes
        self.records_min = result.records if first else min(self.records_min, result.records)
        self.crashes_min = result.crashes if first else min(self.crashes_min, result.crashes)
        self.counts = (self.counts or Counter()) + result.counts
        self.passed = (self.passed or Counter()) + result.passed
        if result.violated:
            self.failed = [*(self.failed or []), result]
        if result.is_thin:
            self.thin.append(result.seed)


@click.command()
@click.option("--seed", type=int, help="One seed, told event by event; the same seed is the same world.")
@click.option("--seeds", type=Seeds(), default=(0, 199), help="FROM..TO, both included (default 0..199).")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes at a time.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def simulate(seed: int | None, seeds: tuple[int, int], jobs: int, *, as_json: bool) -> None:
    """The product's own code in a simulated world of crashes, zombies, rebalances and clocks that leap.

    Needs no running system. Exit code 1 when an invariant breaks, or when too little happened in a seed for it to
    prove anything; the failing seed is printed, and `--seed N` shows the same course of events again.
    """
    if seed is not None:
        _one(seed, as_json=as_json)
        return
    began, total, said = time.monotonic(), _Sum(), time.monotonic()
    for result in _run(range(seeds[0], seeds[1] + 1), jobs):
        total.add(result)
        if time.monotonic() - said >= PROGRESS_S and not as_json:
            said = time.monotonic()
            bad = len(total.failed or ())
            click.echo(
                f"{total.seeds} seeds, {total.records:,} records, {total.crashes:,} crashes, {bad} fail", err=True
            )
    _report(total, time.monotonic() - began, as_json=as_json)
    if total.failed or total.thin:
        sys.exit(output.FAILED)


def _one(seed: int, *, as_json: bool) -> None:
    result = worlds.run(seed, told=not as_json)
    for line in result.lines:
        click.echo(line)
    output.one(_plain(result), as_json=as_json)
    if not as_json:
        _tell([seed] if result.is_thin else [])
    if result.violated or result.is_thin:
        sys.exit(output.FAILED)


def _run(seeds: range, jobs: int) -> Iterator[Result]:
    if jobs == 1 or len(seeds) <= CHUNK:
        yield from map(worlds.run, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(worlds.run, seeds, chunksize=CHUNK)


def _plain(result: Result) -> dict[str, Any]:
    return {
        "seed": result.seed,
        "violated": result.violated,
        "trace": result.trace,
        "records": result.records,
        "crashes": result.crashes,
        "events": dict(sorted(result.counts.items())),
    }


def _report(total: _Sum, took_s: float, *, as_json: bool) -> None:
    failed = sorted(total.failed or [], key=lambda one: one.seed)
    said: dict[str, Any] = {
        "seeds": total.seeds,
        "failed": len(failed),
        "records": total.records,
        "records_a_seed_min": total.records_min,
        "crashes": total.crashes,
        "crashes_a_seed_min": total.crashes_min,
        "seeds_per_s": round(total.seeds / took_s, 1),
        "events": dict(sorted((total.counts or Counter()).items())),
        "boundaries": len(total.passed or ()),
    }
    if as_json:
        more = {"failing": [_plain(one) for one in failed], "thin": total.thin, "not_reached": worlds.NOT_REACHED}
        click.echo(json.dumps(said | more, indent=2))
        return
    said["events"] = ", ".join(f"{count} {name}" for name, count in said["events"].items())
    output.one(said, as_json=False)
    for one in failed[:SHOWN_MAX]:
        click.echo(f"seed {one.seed}: {one.violated}")
    if failed:
        click.echo(f"`aios prove simulate --seed {failed[0].seed}` shows it event by event")
    _tell(total.thin)


def _tell(thin: Sequence[int]) -> None:
    """Of which seeds nothing is proven, and what no seed reaches."""
    for seed in thin[:SHOWN_MAX]:
        click.echo(
            f"seed {seed} proves nothing: fewer than {worlds.RECORDS_MIN} records or {worlds.CRASHES_MIN} crashes"
        )
    click.echo("\nnot reached by this:")
    for each in worlds.NOT_REACHED:
        click.echo(f"- {each}")


@click.command()
@click.option("--seeds", type=Seeds(), default=(0, 999), help="FROM..TO that each may take (default 0..999).")
@click.option("--only", help="Those whose name contains this.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes at a time.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def mutations(seeds: tuple[int, int], only: str | None, jobs: int, *, as_json: bool) -> None:
    """Mistakes put into the product on purpose, and the seed that finds each. Exit code 1 if one is not found."""
    chosen = [one for one in mistakes.MUTATIONS if not only or only in one.name]
    found: list[dict[str, Any]] = []
    for hunt in _hunts(chosen, range(seeds[0], seeds[1] + 1), jobs):
        found.append(
            {
                "mutation": hunt.mutation.name,
                "seed": "" if hunt.seed is None else hunt.seed,
                "violated": hunt.violated or f"not caught in {hunt.tried} seeds",
                "why": hunt.mutation.why,
            }
        )
        if not as_json:
            click.echo(f"{len(found)} of {len(chosen)}: {hunt.mutation.name}", err=True)
    output.rows(found, ("mutation", "seed", "violated"), as_json=as_json, none="no mutation has this in its name")
    if any(one["seed"] == "" for one in found):
        sys.exit(output.FAILED)


def _hunts(chosen: Iterable[mistakes.Mutation], seeds: range, jobs: int) -> Iterator[mistakes.Hunt]:
    hunt = partial(mistakes.hunt, seeds=seeds)
    if jobs == 1:
        yield from map(hunt, chosen)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(hunt, chosen)
