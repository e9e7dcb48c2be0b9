"""What a figure was measured on, and where figures are kept: infra/bench/results/<name>.json."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import click
import psutil

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    """Cores, memory, system; no names."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def keep(name: str, command: str, figures: Mapping[str, Any]) -> None:
    """Write the figures of one benchmark beside the machine's description; the last run replaces the one before."""
    keep_in(RESULTS, name, command, figures)


def keep_in(folder: Path, name: str, command: str, figures: Mapping[str, Any]) -> None:
    """The same, for figures of another kind."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    measured = {"command": command, "at": f"{datetime.now(UTC):%Y-%m-%d}", "machine": describe(), **figures}
    path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    click.echo(f"kept in {path}", err=True)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """P50, P95 and P99 of at least two values, inclusive method; empty otherwise."""
    if len(values) < 2:
        return {}
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1), "p99": round(cuts[98], 1)}
