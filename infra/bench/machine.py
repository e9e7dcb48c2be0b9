"""What a figure was measured on, and where figures are kept: infra/bench/results/<name>.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import click
import psutil

RESULTS = Path(__file__).parent / "results"
INFERENCE = "AIOS_INFERENCE__"
NAMES = tuple(f"{INFERENCE}{name}" for name in ("URL", "API_KEY", "TENANT_WEIGHTS"))  # of servers, secrets, tenants
ASKED = ("name", "memory.total", "driver_version")  # of each GPU
ASK_S_MAX = 30.0  # a driver that nobody has used yet takes its time


def describe() -> dict[str, Any]:
    """Cores, memory, system, and GPUs where there are any; no names."""
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
        **({"gpus": found} if (found := gpus()) else {}),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def gpus() -> Sequence[str]:
    """Each with its memory and driver, as NVIDIA's own tool reads them: NVML's binding is in the workers' environment
    alone.
    """
    try:
        asked = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S_MAX, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def environment() -> dict[str, str]:
    """What of it concerns the engines, by name; no names of servers or tenants, no key."""
    return {
        name.upper(): value
        for name, value in sorted(os.environ.items())
        if name.upper().startswith(INFERENCE) and not name.upper().startswith(NAMES)
    }


def keep(name: str, command: str, figures: Mapping[str, Any]) -> None:
    """Write the figures of one benchmark beside the machine's description; the last run replaces the one before."""
    keep_in(RESULTS, name, command, figures)


def keep_in(folder: Path, name: str, command: str, figures: Mapping[str, Any]) -> None:
    """The same, for figures of another kind."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    ran = {"command": command, "at": f"{datetime.now(UTC):%Y-%m-%d}", "machine": describe()}
    measured = {**ran, **({"environment": told} if (told := environment()) else {}), **figures}
    path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    click.echo(f"kept in {path}", err=True)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """P50, P95 and P99 of at least two values, inclusive method; empty otherwise."""
    if len(values) < 2:
        return {}
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1), "p99": round(cuts[98], 1)}
