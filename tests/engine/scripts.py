"""Scripts of this folder that have an engine, in the workers' environment: a process of its own for each."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from aios.inference_workers.engines.engine import ENVIRONMENT
from tests.engine.workers import PYTHON

ENDED_S_MAX = 900.0  # models load, on two cores that others use too; half a minute to a minute and a half alone


def command(script: str, *arguments: object) -> list[str]:
    return [str(PYTHON), str(Path(__file__).parent / script), *map(str, arguments)]


def environment() -> dict[str, str]:
    """Without settings of ours, which a script chooses itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
    return ENVIRONMENT | kept | {"PYTHONSAFEPATH": "1"}


def found_by(script: str, *arguments: object) -> dict[str, Any]:
    """What it prints, when it has ended well."""
    done = subprocess.run(
        command(script, *arguments), env=environment(), capture_output=True, timeout=ENDED_S_MAX, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
