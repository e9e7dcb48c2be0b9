"""What was tuned is added to the weights that serve."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.engine.workers import PYTHON

LOAD_S_MAX = 120.0  # torch, on two cores that others use too; 3 s alone


def test_a_merged_adapter_says_what_one_at_work_would(tmp_path: Path) -> None:
    """Tensors it does not name are the same objects; one that does not fit is refused with its file's name."""
    done = subprocess.run(
        [PYTHON, Path(__file__).parent / "adapter.py", tmp_path],
        env=os.environ | {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LOAD_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
