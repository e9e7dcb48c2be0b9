"""`aios bench workflow --only screening`: names a second that one process screens against the shipped list.

Enters: the shipped list, a seed. Leaves: figures in processor time of the thread, so that what else runs on the machine
counts as little as it can. Names are half ordinary people's and half listed ones with a slip, each part new to the
index's cache, which is the dear case.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from aios.processors.screening import list_files, perturbed
from aios.processors.screening.index import Asked, Index
from aios.streams import collector

NAMES, SEED, WARM = 2_000, 1, 50
LIST = "ofac_sdn"


def measure(names: int = NAMES, seed: int = SEED) -> Mapping[str, float]:
    """names_per_s, mean, P50 and P99 in ms, seconds to read and to build, entries and names of the list."""
    started = time.thread_time()
    listed = list_files.shipped(LIST)
    read_s = time.thread_time() - started
    started = time.thread_time()
    index = Index(listed.entries)
    build_s = time.thread_time() - started
    collector.rest()
    draw = random.Random(seed)  # noqa: S311 - names to try, no secrets
    took_ms = sorted(_took_ms(index, name) for name in _names(index, names + WARM, draw)[WARM:])
    return {
        "entries": len(listed.entries),
        "names_listed": len(index.names),
        "read_s": round(read_s, 2),
        "build_s": round(build_s, 2),
        "searches": len(took_ms),
        "names_per_s": round(1000 * len(took_ms) / sum(took_ms)),
        "mean_ms": round(sum(took_ms) / len(took_ms), 3),
        "p50_ms": round(took_ms[len(took_ms) // 2], 3),
        "p99_ms": round(took_ms[int(len(took_ms) * 0.99)], 3),
    }


def _names(index: Index, names: int, draw: random.Random) -> list[str]:
    found: list[str] = []
    while len(found) < names:
        entry = draw.choice(index.entries)
        slip = perturbed.one_typo(entry, entry.names[0], draw)
        found += [name for name in (slip, perturbed.ordinary(1, draw)[1]) if name]
    return found[:names]


def _took_ms(index: Index, name: str) -> float:
    started = time.thread_time_ns()
    index.search(Asked(name))
    return (time.thread_time_ns() - started) / 1e6
