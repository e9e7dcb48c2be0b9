"""Cases of a workflow on a running plan, workers and watch: which version of a model answers them, and what ends it."""

from __future__ import annotations

import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from aios.infra import deploying
from aios.infra.cli import aios
from aios.schemas.codec import Codec
from aios.schemas.errors import SchemaMismatch
from aios.schemas.models import (
    AuditRecorded,
    CaseAdmitted,
    CaseDecided,
    Event,
    InferenceCompleted,
    ModelActivated,
    ReviewDecided,
    ReviewRequested,
)
from aios.streams import activations, config, principals
from aios.streams.admin import read_all
from aios.streams.config import Settings
from aios.streams.record import Outgoing
from aios.streams.topics import (
    AUDIT_RECORDED,
    CASE_ADMITTED,
    CASE_DECIDED,
    INFERENCE_COMPLETED,
    REVIEW_DECIDED,
    REVIEW_REQUESTED,
    Topic,
)
from aios.streams.topology import WATCH
from aios.streams.wall_clock import wall_ms
from tests.broker.test_watch import deliver
from tests.fakes import admissions, questions

MODEL = "triage-encoder"
STABLE, CANARY = 1, 2  # versions that are shipped
WAIT_S_MAX = 120.0  # scipy takes seconds of a quiet machine to load


@dataclass
class Canaried:
    """One workflow and its tenant. write: its files. cases: that it was given, by id."""

    settings: Settings
    codec: Codec
    unique: str
    canary: int = CANARY
    write: Callable[[Path, str, str], Path] = questions.write
    cases: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    decided_by_person: set[str] = field(default_factory=set)

    @property
    def workflow(self) -> str:
        return f"questions.q{self.unique}"

    @property
    def tenant(self) -> str:
        return f"t-{self.unique}"

    @property
    def contract(self) -> str:
        return f"question.q{self.unique}.v1"

    def deploy(self, folder: Path) -> None:
        """Known to plan with the next case of it; the operator's token is in the home."""
        judged = deploying.judge(self.write(folder, self.workflow, self.contract))
        deploying.deploy(self.settings, self.codec, judged, by="ada", reason="a test", active=True)
        principals.own_tokens(self.settings.home, self.settings.kafka, self.codec)

    def aios(self, *arguments: str) -> Any:
        """What a command says, of the system that these tests run."""
        config.load.cache_clear()
        environment = {
            "AIOS_HOME": str(self.settings.home),
            "AIOS_KAFKA__BOOTSTRAP_SERVERS": self.settings.kafka.bootstrap_servers,
            "AIOS_REGISTRY__URL": self.settings.registry.url,
            "AIOS_REDIS__URL": self.settings.redis.url,
        }
        said = CliRunner().invoke(aios, [*arguments, "--json"], env=environment)
        config.load.cache_clear()
        assert said.exit_code == 0, said.output
        return json.loads(said.stdout)

    def serve_all(self, version: int = STABLE) -> None:
        """Every new case, by this version; plan knows it when this returns."""
        self.aios("model", "activate", f"{MODEL}@{version}", "--why", "a test")
        self.until(lambda: self.version_of(self.admit(1)[0]) == version)

    def serve_a_share(self, percent: int, limits: Mapping[str, float]) -> None:
        """The canary, this share of new cases; plan knows it when this returns."""
        self.aios(
            "model", "activate", f"{MODEL}@{self.canary}", "--canary", str(percent), "--limits", json.dumps(limits)
        )
        self.until_it_serves(percent)

    def until_it_serves(self, percent: int) -> None:
        self.until(lambda: self.version_of(self.admit(1, percent, side=True)[0]) == self.canary)

    def is_drawn(self, case_id: str, percent: int) -> bool:
        """Whether the case is of the canary's share."""
        return activations.draw(f"{MODEL}@{self.canary}", case_id) < percent * activations.PERMILLE // 100

    def admit(
        self, count: int, percent: int = 0, *, side: bool | None = None, text: str = "", shown: bool = False
    ) -> list[str]:
        """New cases, by id. side: only such as are, or are not, of a canary's share of so many percent."""
        new = self.made(count, percent, side=side, text=text, shown=shown)
        self._deliver(CASE_ADMITTED, new)
        self.cases |= new.keys()
        return list(new)

    def made(
        self, count: int, percent: int = 0, *, side: bool | None = None, text: str = "", shown: bool = False
    ) -> dict[str, CaseAdmitted]:
        """The same, as nobody has seen them yet."""
        new: dict[str, CaseAdmitted] = {}
        while len(new) < count:
            key = f"{self.unique}-{next(self.numbers)}"
            one = self._admitted(key, text or f"My card {key} has not arrived.", shown=shown)
            if side is None or self.is_drawn(one.case_id, percent) == side:
                new[one.case_id] = one
        return new

    def decide(self, label_of: Callable[[ReviewRequested], str]) -> None:
        """A person answers every question that is open."""
        asked = [one for one in self._all(REVIEW_REQUESTED, ReviewRequested) if one.case_id in self.cases]
        new = {
            one.case_id: ReviewDecided(
                event_id=f"r-{one.task_id}",
                task_id=one.task_id,
                case_id=one.case_id,
                tenant=one.tenant,
                label=label_of(one),
                reviewer="ann",
                decided_at=wall_ms(),
            )
            for one in asked
            if one.case_id not in self.decided_by_person
        }
        self._deliver(REVIEW_DECIDED, new)
        self.decided_by_person |= new.keys()

    def answers(self) -> dict[str, list[InferenceCompleted]]:
        """By case."""
        found: dict[str, list[InferenceCompleted]] = defaultdict(list)
        for one in self._all(INFERENCE_COMPLETED, InferenceCompleted):
            if one.case_id in self.cases:
                found[one.case_id].append(one)
        return found

    def version_of(self, case_id: str) -> int:
        """That answered the case: one alone, whichever step and attempt it was."""
        answered = self.until(lambda: self.answers().get(case_id))
        (model,) = {one.model for one in answered}
        return int(model.partition("@")[2])

    def decided(self, cases: Iterable[str]) -> dict[str, CaseDecided]:
        """All of them, as soon as they are."""
        wanted = set(cases)

        def found() -> dict[str, CaseDecided]:
            known = {one.case_id: one for one in self._all(CASE_DECIDED, CaseDecided) if one.case_id in wanted}
            return known if known.keys() == wanted else {}

        result: dict[str, CaseDecided] = self.until(found)
        return result

    def asked(self, cases: Iterable[str]) -> None:
        """Return when a person is asked in each of them."""
        wanted = set(cases)
        self.until(lambda: wanted <= {one.case_id for one in self._all(REVIEW_REQUESTED, ReviewRequested)})

    def returned(self, feed: Callable[[], None]) -> ModelActivated:
        """The activation without the canary, by the watch; cases are fed until it is there."""
        deadline = time.monotonic() + WAIT_S_MAX
        while (last := self._activated()).canary_version:
            assert time.monotonic() < deadline, "the canary did not go back"
            feed()
        assert last.by == WATCH.name
        return last

    def why_returned(self) -> dict[str, Any]:
        """What the audit holds of the last return."""
        acts = self._all(AUDIT_RECORDED, AuditRecorded)
        detail: dict[str, Any] = json.loads([one for one in acts if one.transition == "canary_returned"][-1].detail)
        return detail

    def until(self, true: Callable[[], Any]) -> Any:
        """What it says once it is true; fails after a bound."""
        deadline = time.monotonic() + WAIT_S_MAX
        while not (said := true()):
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.2)
        return said

    def _activated(self) -> ModelActivated:
        return activations.read(self.settings.kafka, self.codec)[MODEL]

    def _admitted(self, key: str, text: str, *, shown: bool) -> CaseAdmitted:
        body = {"text": text, "shown": shown}
        return admissions.admitted(
            body,
            key=key,
            tenant=self.tenant,
            workflow=self.workflow,
            contract=self.contract,
            at=wall_ms(),
            event_id=f"e-{key}",
        )

    def _deliver(self, topic: Topic, events: Mapping[str, Event]) -> None:
        outs = [Outgoing(topic.name, key.encode(), self.codec.encode(topic, one)) for key, one in events.items()]
        deliver(self.settings.kafka, outs)

    def _all(self, topic: Topic, kind: type[Any]) -> list[Any]:
        """By the broker's time."""
        found: list[Event] = []
        for record in sorted(read_all(self.settings.kafka, topic.name), key=lambda one: one.timestamp_ms):
            with suppress(SchemaMismatch):  # other tests of this broker put there what nobody can read
                found.append(self.codec.decode(record.value, kind))
        return found


def activate_unheard_of(there: Canaried, percent: int) -> None:
    """A canary of a version that the workers' deploy has not: somebody's cards are newer than their processes."""
    told = activations.activated(
        None, MODEL, there.canary, stable=STABLE, canary_permille=percent * activations.PERMILLE // 100
    )
    activations.write(there.settings.kafka, there.codec, told, by="ada", reason="it is newer")
    there.until_it_serves(percent)
