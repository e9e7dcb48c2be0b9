"""Python's collector of garbage in cycles, told to rest in a process that serves.

Leaves: what was imported and loaded until now is never looked at again (a full look costs 15 to 25 ms in which nothing
else happens), and what is new only once COLLECT_AFTER objects more were made than freed: a batch of records makes
thousands, hardly any of them in a cycle, and a fifth of a busy stage's time went into looking at them
(`aios bench peers`).
Rejected: gc.disable() (tracebacks and tasks do leave cycles, and a process serves for weeks).
"""

from __future__ import annotations

import gc

COLLECT_AFTER = 50_000  # the interpreter's own number is 700


def rest() -> None:
    """Once everything is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
