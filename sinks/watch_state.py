"""What the watch remembers: a series for each measure of a model in a workflow and of a workflow, and a trial for each
canary. Pure.

Enters: answers of models (inference.completed), requests that ended the process of their engine (dead letters of
pools), what plan could not use of answers and what people chose (audit.recorded), decisions (case.decided), and which
canaries there are. Leaves: findings of drift, verdicts on
canaries, and what has changed as fields for Valkey. Guaranteed: a record below the position of its partition changes
nothing, so that what comes again after a restart counts once; SUBJECTS_MAX subjects are remembered, the one that has
been silent longest makes room.

    model:<name>@<version>/<workflow>   labels, confidence, out_of_scope, input_length of its answers
    workflow:<name>                     labels, confidence and by_person of its decisions, out_of_scope and
                                        input_length of its models' answers

A version of a model has series of its own; those of a workflow begin anew with the first decision of a newer version,
and what cases in flight add of the version before is counted with them (answers do not say which version asked).

An answer that plan cannot use (it breaks its contract, or its label is not of the workflow's list) is an error of its
model, as plan's audit says; so is one that its engine was asked for in vain until the deadline, and so is a request
that is a dead letter because it ends every process that has it in hand. A person's choice counts for the
models that the case had used by then, whatever the case comes to and whether its decision has a label; where two are
asked, the first one's does, so that a question counts once. A worker that dies between answer and commit answers again;
such a repeat counts twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aios.schemas.models import AuditRecorded, CaseDecided, InferenceCompleted, ModelActivated
from aios.sinks import canary, drift
from aios.sinks.canary import Side, Trial, Verdict
from aios.sinks.drift import Finding, Kind, Series
from aios.streams import topics
from aios.streams.activations import Limits
from aios.streams.config import WatchSettings
from aios.streams.errors import ConfigError
from aios.streams.record import Record

SUBJECTS_MAX = 200  # with five measures each, of at most 20 kB
OUT_OF_SCOPE_AT = 0.5  # of the probability that no label fits: from here on an answer counts as out of scope
REFUSALS = frozenset({"answer_breaks_contract", "label_unknown"})  # plan's reasons for what it cannot use
_AUDITED = tuple(word.encode() for word in (*REFUSALS, "review_decided"))
KINDS: Mapping[str, Kind] = {
    "labels": Kind.LABELS,
    "confidence": Kind.NUMBERS,
    "out_of_scope": Kind.SHARE,
    "input_length": Kind.NUMBERS,
    "by_person": Kind.SHARE,
}
"""Every measure."""

log = logging.getLogger(__name__)
Key = tuple[str, str]  # subject, measure


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that was given up because the process of its engine ended with it. model: name@version."""

    model: str


Seen = InferenceCompleted | Ended | CaseDecided | AuditRecorded | None  # None: a record that says nothing here


@dataclass(frozen=True, slots=True)
class Drifted:
    """A finding, and whose. began_ms: of the reference, so that one taken anew has findings of its own."""

    subject: str
    measure: str
    began_ms: int
    found: Finding


@dataclass(slots=True)
class State:
    """See the module. changed: fields that Valkey does not have yet; None: it is to be removed."""

    limits: WatchSettings
    series: dict[Key, Series] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)  # the newest that has decided, by subject of a workflow
    changed: set[str] = field(default_factory=set)

    def take(self, record: Record, event: Seen) -> list[Drifted]:
        """What one record adds. [] also for one that was taken before."""
        place = f"{record.topic}/{record.partition}"
        if record.offset < self.positions.get(place, 0):
            return []
        self.positions[place] = record.offset + 1
        self.changed.add(f"position:{place}")
        match event:
            case InferenceCompleted(workflow=topics.EVALUATION):
                return []  # a version is judged: nobody's case
            case InferenceCompleted():
                self._tell_answer(event, record.timestamp_ms)
                values = _of_answer(event)
            case Ended():
                self._tell_ended(event, record.timestamp_ms)
                return []
            case CaseDecided():
                self._follow_version(f"workflow:{event.workflow}", event.workflow_version)
                values = _of_decision(event)
            case AuditRecorded(transition="answered"):
                self._tell_refusal(event, record.timestamp_ms)
                return []
            case AuditRecorded(transition="review_decided"):
                self._tell_choice(event, record.timestamp_ms)
                return []
            case AuditRecorded():
                return []
            case None:
                return []
        found = [self._add(subject, measure, value, record.timestamp_ms) for subject, measure, value in values]
        return [one for one in found if one is not None]

    def follow(self, activated: Iterable[ModelActivated]) -> None:
        """Begin the trials of canaries that are new, forget those that have ended."""
        canaries = {one.model: one for one in activated if one.canary_version and one.canary_permille}
        for model in self.trials.keys() - canaries.keys():
            del self.trials[model]
            self.changed.add(f"trial:{model}")
        for model, one in canaries.items():
            if model not in self.trials or not is_of(self.trials[model], one):
                self.trials[model] = _begun(one)
                self.changed.add(f"trial:{model}")

    def verdicts(self) -> list[tuple[Trial, Verdict]]:
        """Of canaries that must go back."""
        judged = ((trial, canary.judge(trial)) for trial in self.trials.values())
        return [(trial, found) for trial, found in judged if found is not None]

    def end(self, model: str) -> None:
        """Its canary has gone back."""
        self.trials.pop(model, None)
        self.changed.add(f"trial:{model}")

    def written(self) -> dict[str, str]:
        """What changed since saved(), by field of Valkey's hash; empty: remove it."""
        return {name: self._field(name) for name in sorted(self.changed)}

    def changed_series(self) -> Iterator[Key]:
        for name in self.changed:
            kind, _, rest = name.partition(":")
            if kind == "series":
                measure, _, subject = rest.partition(":")
                yield subject, measure

    def saved(self) -> None:
        self.changed.clear()

    def _field(self, name: str) -> str:
        kind, _, rest = name.partition(":")
        match kind:
            case "position":
                return str(self.positions[rest])
            case "version":
                return str(self.versions.get(rest, ""))
            case "trial":
                trial = self.trials.get(rest)
                return json.dumps(trial.plain()) if trial is not None else ""
        measure, _, subject = rest.partition(":")
        series = self.series.get((subject, measure))
        return json.dumps(series.plain()) if series is not None else ""

    def _add(self, subject: str, measure: str, value: str | float, at_ms: int) -> Drifted | None:
        series = self.series.get((subject, measure))
        if series is None:
            self._make_room(subject)
            series = self.series[subject, measure] = Series(KINDS[measure])
        found = series.add(value, at_ms, self.limits)
        self.changed.add(f"series:{measure}:{subject}")
        return None if found is None else Drifted(subject, measure, series.reference.first_ms, found)

    def _make_room(self, subject: str) -> None:
        newest: dict[str, int] = {}
        for (known, _), series in self.series.items():
            newest[known] = max(newest.get(known, 0), series.last_ms)
        if subject in newest or len(newest) < SUBJECTS_MAX:
            return
        self._forget(min(newest, key=lambda one: newest[one]))

    def _follow_version(self, subject: str, version: int) -> None:
        """A newer version may decide otherwise: it is held against how it began itself."""
        known = self.versions.get(subject, 0)
        if version <= known:
            return
        if known:
            self._forget(subject)
        self.versions[subject] = version
        self.changed.add(f"version:{subject}")

    def _forget(self, subject: str) -> None:
        for key in [key for key in self.series if key[0] == subject]:
            del self.series[key]
            self.changed.add(f"series:{key[1]}:{key[0]}")
        if self.versions.pop(subject, 0):
            self.changed.add(f"version:{subject}")

    def _side(self, reference: str, at_ms: int) -> Side | None:
        """Of name@version in its model's trial, if there is one that had begun."""
        name, _, version = reference.partition("@")
        trial = self.trials.get(name)
        if trial is None or at_ms < trial.since_ms or not version.isdigit():
            return None
        side = trial.side(int(version))
        if side is not None:
            self.changed.add(f"trial:{name}")
        return side

    def _tell_answer(self, event: InferenceCompleted, at_ms: int) -> None:
        side = self._side(event.model, at_ms)
        if side is None or _is_untried(event):
            return
        failed = event.status != "ok"
        took = event.engine_us / 1000 if event.engine_us else float(event.compute_ms)
        side.answered(failed=failed, took_ms=None if failed or event.cached else took, fill=_fill(event))

    def _tell_ended(self, event: Ended, at_ms: int) -> None:
        side = self._side(event.model, at_ms)
        if side is not None:
            side.ended()

    def _tell_choice(self, event: AuditRecorded, at_ms: int) -> None:
        said = json.loads(event.detail)
        if not said.get("suggestion") or said.get("unseen") or said.get("round", 1) != 1:
            return
        for model in said.get("models", ()):
            side = self._side(model, at_ms)
            if side is not None:
                side.decided(overridden=said["label"] != said["suggestion"])

    def _tell_refusal(self, event: AuditRecorded, at_ms: int) -> None:
        """Of an answer that counted as good when it came."""
        said = json.loads(event.detail)
        if said.get("outcome") == "ok" and said.get("reason") in REFUSALS:
            side = self._side(str(said.get("model", "")), at_ms)
            if side is not None:
                side.errors += 1


def _is_untried(event: InferenceCompleted) -> bool:
    """It waited too long to be asked (its engine was being loaded, or all places in it taken), or was called off: no
    fault of a model. One that was asked and never answered until the deadline (`unanswered`) is not among these.
    """
    if event.status != "expired" or event.reason == "unanswered":
        return False
    return event.reason != "late" or not event.compute_ms


def _fill(event: InferenceCompleted) -> int:
    """Among how many its engine shared out its time while it worked on this one: the time that passed, by its share."""
    return max(1, round(event.compute_ms * 1000 / event.engine_us)) if event.engine_us else canary.UNKNOWN


def may_count(value: bytes) -> bool:
    """Whether a record of the audit, as it travels, can be what the watch wants of it: few are, and all are read."""
    return any(word in value for word in _AUDITED)


def is_of(trial: Trial, activated: ModelActivated) -> bool:
    """Whether the trial began with this activation."""
    told = (activated.model, activated.version, activated.canary_version, activated.activated_at)
    return told == (trial.model, trial.version, trial.canary_version, trial.since_ms)


def read_back(fields: Mapping[str, str], limits: WatchSettings) -> State:
    """Of what written() gave. Raises ValueError, KeyError or TypeError for anything else."""
    state = State(limits)
    for name, said in fields.items():
        kind, _, rest = name.partition(":")
        match kind:
            case "position":
                state.positions[rest] = int(said)
            case "version":
                state.versions[rest] = int(said)
            case "trial":
                state.trials[rest] = canary.of_plain(json.loads(said))
            case "series":
                measure, _, subject = rest.partition(":")
                state.series[subject, measure] = drift.of_plain(json.loads(said))
            case _:
                raise ValueError(f"{name} is nothing that the watch remembers")
    return state


def _begun(one: ModelActivated) -> Trial:
    try:
        limits = Limits.of(one)
    except ConfigError as error:
        log.warning("%s; the defaults hold", error)
        limits = Limits()
    return Trial(one.model, one.version, one.canary_version, one.activated_at, one.canary_permille, limits)


def _of_answer(event: InferenceCompleted) -> Iterator[tuple[str, str, str | float]]:
    """Of one that can be used: subject, measure, value."""
    said = _said(event)
    if event.status != "ok" or said is None:
        return
    model, workflow = f"model:{event.model}/{event.workflow}", f"workflow:{event.workflow}"
    if event.prompt_tokens > 0:
        yield model, "input_length", float(event.prompt_tokens)
        yield workflow, "input_length", float(event.prompt_tokens)
    if said.label:
        yield model, "labels", said.label
    if said.confidence is not None:
        yield model, "confidence", said.confidence
    if said.out_of_scope is not None:
        outside = _word(said.out_of_scope >= OUT_OF_SCOPE_AT)
        yield model, "out_of_scope", outside
        yield workflow, "out_of_scope", outside


def _of_decision(event: CaseDecided) -> Iterator[tuple[str, str, str | float]]:
    workflow, by_person = f"workflow:{event.workflow}", _is_by_person(event)
    yield workflow, "labels", event.label or event.outcome
    yield workflow, "by_person", _word(by_person)
    if event.decided_by == "policy":
        yield workflow, "confidence", event.confidence


class _Said(NamedTuple):
    """What is watched of an answer; of a text, nothing."""

    label: str = ""
    confidence: float | None = None
    out_of_scope: float | None = None


def _said(event: InferenceCompleted) -> _Said | None:
    """None if the answer breaks its contract."""
    try:
        said = json.loads(event.output)
    except ValueError:
        return None
    match event.output_contract, said:
        case "classification.v1", {"label": str(label), "confidence": confidence, "out_of_scope": outside}:
            whole = label and _is_share(confidence) and _is_share(outside)
            return _Said(label, float(confidence), float(outside)) if whole else None
        case "choice.v1", {"choice": str(label)}:
            return _Said(label) if label else None
        case "classification.v1" | "choice.v1", _:
            return None
    return _Said() if isinstance(said, dict) else None


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_by_person(event: CaseDecided) -> bool:
    return event.decided_by.startswith("reviewer:")


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
