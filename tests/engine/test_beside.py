"""Two engines of one worker, as a worker has them while a canary of other weights serves beside the stable version."""

from __future__ import annotations

from tests.engine.scripts import found_by


def test_two_engines_of_a_worker_answer_together_as_each_does_alone() -> None:
    """Every text has the vector of its own model, while the second one loads and while both are full of work."""
    found = found_by("beside.py")
    assert found.pop("the same") > 0  # they are two models
    assert found == {"while it loads": 0, "loaded": 0, "together": 0}
