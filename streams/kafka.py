"""The roads themselves: deliver, take, finish; and what is needed around them. Everything here is on confluent-kafka.

delivery.py   records out, acknowledged before anybody is told so
intake.py     records in, as a member of a group, with the thread that polls (polling.py) and commits (committing.py);
              hands.py holds what is in hand, offsets.py says what may be committed
admin.py      topics, and reading without a group
"""

from __future__ import annotations

from aios.streams.admin import cluster_id, ensure_topics, partitions_of, read_all, read_one
from aios.streams.delivery import Delivery, Place
from aios.streams.intake import Intake
from aios.streams.offsets import OffsetTracker

__all__ = [
    "Delivery",
    "Intake",
    "OffsetTracker",
    "Place",
    "cluster_id",
    "ensure_topics",
    "partitions_of",
    "read_all",
    "read_one",
]
