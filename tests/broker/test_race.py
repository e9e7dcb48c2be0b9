"""The races of `aios bench laws` and `aios bench peers`, small: their entrants start, do the work, and are checked."""

from __future__ import annotations

from pathlib import Path

from aios.infra.bench.race import Race, loop, ours

RECORDS = 3_000


def test_whoever_needs_no_fetching_does_the_work_of_a_race(tmp_path: Path) -> None:
    """One after the other on one broker; the race itself compares what each wrote with what must come out."""
    race = Race(tmp_path, RECORDS, poison_share=0.01)
    entrants = [ours(), ours(poison=True), loop("eos", "exactly once"), loop("naive", "naive")]
    try:
        found = race.run(entrants, runs=1)
    finally:
        race.close()
    assert [name for name, each in found.items() if each["cpu_us_per_record"] > 0] == [one.name for one in entrants]
