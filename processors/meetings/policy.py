"""What a company allows of meetings: the constants of a workflow's policy, and the names of its rules.

Enters: the policy of a workflow's file. Leaves: frozen values. Guaranteed: strictly read; light to import, since every
stage that loads workflows knows the contracts of their operations. When each rule closes whom is closing.py's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aios.processors.meetings.wish import Priority

DAY_S = 86_400
TAKE_PART_MAX = 100  # people of one meeting
Minutes = Annotated[int, Field(ge=0, le=30 * 24 * 60)]
Points = Annotated[int, Field(ge=0, le=100)]


class Rule(StrEnum):
    """Why a start was refused."""

    HOURS = "hours"
    BUSY = "busy"
    AWAY = "away"
    TENTATIVE = "tentative"
    FOCUS = "focus"
    BOUND = "bound"
    NOTICE = "notice"
    ROOM = "room"  # none of those that would do is free


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deductions(_Part):
    """Points off a hundred, each for each person it happens to; later: for each day after the first looked at."""

    later_a_day: Points = 2
    later_a_day_max: Points = 20
    against_preference: Points = 10  # at the other end of the window; in between in proportion
    lunch: Points = 8
    no_break: Points = 4
    edge_of_day: Points = 3
    focus: Points = 15
    tentative: Points = 10


class Policy(_Part):
    """Of a workflow's file. duration_min: where nobody says one. window_days: looked at where no date is said.

    room_from_people: from this many people at one site a room is needed. edge_min: of a working day's ends.
    """

    duration_min: Annotated[int, Field(ge=5, le=480)] = 30
    duration_min_max: Annotated[int, Field(ge=5, le=1440)] = 240
    step_min: Annotated[int, Field(ge=5, le=60)] = 15
    notice_min: Minutes = 120
    notice_high_min: Minutes = 15
    window_days: Annotated[int, Field(ge=1, le=31)] = 7
    horizon_days: Annotated[int, Field(ge=1, le=366)] = 366
    room_from_people: Annotated[int, Field(ge=1, le=1000)] = 3
    break_min: Annotated[int, Field(ge=0, le=60)] = 10
    edge_min: Annotated[int, Field(ge=0, le=120)] = 30
    lunch_from: time = time(12)
    lunch_to: time = time(13)
    deductions: Deductions = Deductions()

    def notice_s(self, priority: Priority) -> int:
        return 60 * (self.notice_high_min if priority is Priority.HIGH else self.notice_min)

    @property
    def lunch(self) -> Mapping[int, tuple[tuple[time, time], ...]]:
        """By weekday."""
        return dict.fromkeys(range(7), ((self.lunch_from, self.lunch_to),))
