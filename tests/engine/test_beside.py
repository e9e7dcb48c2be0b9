"""Two engines in one process, as a worker has them while a canary of other weights serves beside the stable version."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from aios.inference_workers.engine import ENVIRONMENT
from tests.engine.workers import PYTHON

ENDED_S_MAX = 900.0  # two models load, on two cores that others use too; 83 s


def test_two_engines_of_a_process_answer_together_as_each_does_alone() -> None:
    """Every text has the vector of its own model, while the second one loads and while both are full of work."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
    done = subprocess.run(
        [PYTHON, Path(__file__).parent / "beside.py"],
        env=ENVIRONMENT | environment | {"PYTHONSAFEPATH": "1"},
        capture_output=True,
        timeout=ENDED_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found = json.loads(done.stdout)
    assert found.pop("the same") > 0  # they are two models
    assert found == {"while it loads": 0, "loaded": 0, "together": 0}
