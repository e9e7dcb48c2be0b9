"""budget under kill -9: the real process, its limits from Kafka, judged from outside."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from aios.infra.local import child
from aios.infra.tail import Tail
from aios.processors.accounts import CLOSED, DENIED, GRANTED
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import BudgetAnswered, BudgetChanged, BudgetRequested, UsageSettled
from aios.streams import limits, topics
from aios.streams.admin import ensure_topics
from aios.streams.config import KafkaSettings, client
from aios.streams.durations import HOUR_MS
from aios.streams.topology import BUDGET
from aios.streams.wall_clock import wall_ms

CASES = 120
MOST = 30
HARD = 1_000  # of what CASES would use, about half
DEATHS = ("budget.produced=kill@2", "budget.committed=kill@2", "budget.computed=kill@3")
DONE_S_MAX = 150.0
WAVE = 10  # cases at once: they race for the room


@dataclass
class Process:
    """The stage, started again whenever it ends, as the supervisor would."""

    kafka: KafkaSettings
    registry_url: str
    home: Path
    running: subprocess.Popen[bytes] = field(init=False)
    exits: list[int] = field(default_factory=list)

    def start(self) -> None:
        told = {
            "AIOS_HOME": str(self.home),
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": self.registry_url,
        }
        command = [sys.executable, "-P", "-m", "aios.infra.stage", "budget"]
        self.running = child.start(command, self.home / "budget.log", {**os.environ, **told})

    def look_after(self) -> None:
        if (status := self.running.poll()) is not None:
            self.exits.append(status)
            self.start()

    def end(self) -> None:
        self.running.kill()
        self.running.wait()


@dataclass
class Cases:
    """What plan would do, for one tenant: ask, use, close; and sometimes say it twice."""

    kafka: KafkaSettings
    codec: Codec
    tenant: str
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    answers: dict[str, BudgetAnswered] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    changed: list[BudgetChanged] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    asked: int = 0

    def __post_init__(self) -> None:
        self._producer = Producer(client(self.kafka, partitioner="murmur2_random", **{"linger.ms": 1, "log_level": 0}))
        self._tail = Tail(self.kafka, [topics.BUDGET_ANSWERED.name, topics.BUDGET_CHANGED.name])

    def round(self) -> None:
        """A wave more once the one before is answered; what it was granted is used and closed."""
        if self.asked == len(self.answers) and self.asked < CASES:
            for _ in range(WAVE):
                self._ask(f"{self.tenant}-{self.asked}")
                self.asked += 1
        for record in self._tail.poll(0.2):
            if record.topic == topics.BUDGET_CHANGED.name:
                changed = self.codec.decode(record.value, BudgetChanged)
                self.changed += [changed] if changed.tenant == self.tenant else []
                continue
            answer = self.codec.decode(record.value, BudgetAnswered)
            if answer.tenant == self.tenant:
                self._take(answer)
        self._producer.poll(0)

    @property
    def done(self) -> bool:
        return len(self.answers) == CASES and bool(self.changed) and self.changed[-1].reserved_micro == 0

    def close(self) -> None:
        self._tail.close()

    def _ask(self, case: str) -> None:
        now = wall_ms()
        self._put(
            topics.BUDGET_REQUESTED,
            BudgetRequested(
                reservation_id=ids.derive("reservation", case),
                case_id=case,
                tenant=self.tenant,
                workflow="document.triage",
                amount_micro=MOST,
                requested_at=now,
                expires_at=now + HOUR_MS,
            ),
        )

    def _take(self, answer: BudgetAnswered) -> None:
        self.told[answer.reservation_id] += 1
        known = self.answers.setdefault(answer.reservation_id, answer)
        assert (known.status, known.amount_micro) == (answer.status, answer.amount_micro)
        if answer.status != GRANTED or self.told[answer.reservation_id] > 1:
            return
        cost = self.chance.randint(0, MOST)
        self.used[answer.reservation_id] = cost
        for _ in range(1 + (self.chance.random() < 0.2)):
            self._settle(answer, "inference", cost)
        self._settle(answer, CLOSED, 0)

    def _settle(self, answer: BudgetAnswered, kind: str, cost: int) -> None:
        self._put(
            topics.USAGE_SETTLED,
            UsageSettled(
                settlement_id=ids.derive("settled", answer.reservation_id, kind),
                reservation_id=answer.reservation_id,
                case_id=answer.case_id,
                tenant=self.tenant,
                workflow=answer.workflow,
                kind=kind,
                cost_micro=cost,
                settled_at=answer.answered_at,
            ),
        )

    def _put(self, topic: topics.Topic, event: Any) -> None:
        self._producer.produce(topic.name, self.codec.encode(topic, event), self.tenant.encode())


def test_kill_9_of_budget_takes_no_more_than_the_limit_and_loses_nothing(
    kafka: KafkaSettings, registry_url: str, codec: Codec, unique: str, tmp_path: Path
) -> None:
    """I8: cases race for a fixed budget while it dies at its boundaries; each is answered once, the books are exact."""
    asyncio.run(ensure_topics(kafka, _topics()))
    tenant = f"fault-{unique}"
    declared = limits.limit(
        tenant, "document.triage", window="total", hard_micro=HARD, soft_micro=HARD // 2, policy="refuse"
    )
    limits.declare(kafka, codec, declared)
    (tmp_path / "run" / "failpoints").mkdir(parents=True)
    (tmp_path / "run" / "failpoints" / "budget.0").write_text("\n".join(DEATHS) + "\n")
    process, cases = Process(kafka, registry_url, tmp_path), Cases(kafka, codec, tenant)
    process.start()
    try:
        deadline = time.monotonic() + DONE_S_MAX
        while not cases.done:
            assert time.monotonic() < deadline, (cases.asked, len(cases.answers), process.exits, _log(tmp_path))
            cases.round()
            process.look_after()
    finally:
        process.end()
        cases.close()
    assert process.exits == [-signal.SIGKILL] * len(DEATHS), _log(tmp_path)
    assert set(cases.told.values()) == {1}, "an answer was written twice, or not at all"
    assert {answer.status for answer in cases.answers.values()} == {GRANTED, DENIED}
    assert all(one.reserved_micro + one.spent_micro <= HARD for one in cases.changed)
    last = cases.changed[-1]
    assert (last.spent_micro, last.over_micro, last.soft_reached) == (sum(cases.used.values()), 0, True)
    assert last.denied == sum(answer.status == DENIED for answer in cases.answers.values())


def _topics() -> list[topics.Topic]:
    """What the stage and its limits need, and no more: a broker takes its time for each partition."""
    assert BUDGET.changelog is not None
    own = (*BUDGET.inputs, *BUDGET.writes, BUDGET.changelog, BUDGET.dead_letters)
    around = (topics.BUDGET_DECLARED, topics.BREAKER_CHANGED, topics.AUDIT_RECORDED, topics.LETTER_CHANGED)
    return list({one.name: one for one in (*own, *around, *(tier.topic for tier in BUDGET.tiers))}.values())


def _log(home: Path) -> str:
    return (home / "budget.log").read_text(errors="replace")[-3_000:]
