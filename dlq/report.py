"""What the dry run of a replay job found. Pure.

Enters: letter by letter, what would become of it. Leaves: counts by consumer group, as plain values that a job keeps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aios.dlq.dead_letter import DeadLetter

SAMPLES_MAX = 5  # ids of letters that would fail again, by group


@dataclass(slots=True)
class Report:
    """What a dry run found. groups: by consumer group, what would happen to the letters selected there.

    returns: would be returned (or discarded); fails: of these, by the reason for which they would fail again;
    skips: would be passed over, by reason; failing: ids of some that would fail again. left_out: parked ones that the
    job does not come to, because there are too many.
    """

    complete: bool = False
    looked: int = 0
    selected: int = 0
    undecided: int = 0  # the filter's expression said neither yes nor no
    left_out: int = 0
    groups: dict[str, dict[str, Any]] | None = None

    @classmethod
    def of(cls, text: str) -> Report:
        return cls(**json.loads(text)) if text else cls()

    def plain(self) -> dict[str, Any]:
        return {
            "complete": self.complete,
            "looked": self.looked,
            "selected": self.selected,
            "undecided": self.undecided,
            "left_out": self.left_out,
            "groups": self.groups or {},
        }

    def skips(self, group: str, skip: str) -> None:
        self.selected += 1
        _add(self._group(group)["skips"], skip)

    def returns(self, letter: DeadLetter, fails: str) -> None:
        """fails: the reason for which it would fail again; empty: it would not, as far as can be told."""
        self.selected += 1
        group = self._group(letter.group)
        group["returns"] += 1
        if fails:
            _add(group["fails"], fails)
            if len(group["failing"]) < SAMPLES_MAX:
                group["failing"].append(letter.id)

    def _group(self, name: str) -> dict[str, Any]:
        if self.groups is None:
            self.groups = {}
        return self.groups.setdefault(name, {"returns": 0, "fails": {}, "skips": {}, "failing": []})


def _add(counts: dict[str, int], name: str) -> None:
    counts[str(name)] = counts.get(str(name), 0) + 1
