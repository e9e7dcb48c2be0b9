"""A member of a group, in a process of its own: finishes what it takes. For test_intake_orphans.py.

python intake_member.py BOOTSTRAP GROUP TOPIC INSTANCE FAILPOINTS
"""

from __future__ import annotations

import asyncio
import sys

from aios.streams import failpoints
from aios.streams.config import KafkaSettings
from aios.streams.intake import Intake


async def serve(bootstrap: str, group: str, topic: str, instance: str) -> None:
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    intake = Intake(kafka, group=group, topics=[topic], instance_id=instance, in_flight_max=10)
    await intake.start()
    while True:
        for record in await intake.take(10, wait_ms_max=1_000):
            intake.finish(record)


if __name__ == "__main__":
    failpoints.arm(sys.argv[5])
    asyncio.run(serve(*sys.argv[1:5]))
