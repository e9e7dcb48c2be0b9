"""What every process counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from aios.streams.metrics import SECONDS, Seconds


@given(st.lists(st.one_of(st.sampled_from(SECONDS), st.floats(0, 4_000)), max_size=50))
def test_many_observations_at_once_are_as_each_of_them(amounts: list[float]) -> None:
    """Buckets, number and sum, as the client's own observe() has them; on a bucket's bound, too."""
    at_once, singly = (Seconds("took", "…", ["stage"], buckets=SECONDS, registry=CollectorRegistry()) for _ in range(2))
    for half in (amounts[:20], amounts[20:]):
        at_once.labels("plan").observe_all(half)
    for one in amounts:
        singly.labels("plan").observe(one)
    assert _figures(at_once) == _figures(singly)


def _figures(told: Seconds) -> list[tuple[str, str, float]]:
    told.labels("plan")
    samples = [each for metric in told.collect() for each in metric.samples if not each.name.endswith("_created")]
    return [(each.name, each.labels.get("le", ""), round(each.value, 6)) for each in samples]
