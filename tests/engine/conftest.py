"""The engine with a model of no sense, asked once for all files of this folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aios.inference_workers.engine import ENVIRONMENT

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-inference" / "bin" / "python"
ENDED_S_MAX = 900.0  # 30 s on two cores that nobody else uses; loading is what takes long


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What mechanics.py has found out, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
    done = subprocess.run(
        [PYTHON, Path(__file__).parent / "mechanics.py", tmp_path_factory.mktemp("tiny")],
        env=ENVIRONMENT | environment | {"PYTHONSAFEPATH": "1"},
        capture_output=True,
        timeout=ENDED_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
