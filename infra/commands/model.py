"""`aios model …`: model versions, how good they are, how they came about, and which of them serves.

In: cards and data (streams/model_files.py), the workers' environment for what computes, a running system for what
serves. Out: heads and figures beside the model's card; a card as people read it; model.activated.v1 under the name of
the principal whose token was given. `train` fits heads on a version's own labels, or on what ships, and sees no text of
the demo; `evaluate` judges a version, at the thresholds of the shipped workflow, on splits that training did not see. A
version that has served is never changed: `train` refuses one that has figures, unless told that it is not out yet, and
one of which the running system knows that it serves or was activated.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from aios.inference_workers.training import labels
from aios.infra import evaluating, output
from aios.infra.commands import model_figures
from aios.infra.commands.acting import acting
from aios.infra.commands.model_new import new
from aios.infra.commands.operations import JSON, TOKEN, WHY
from aios.infra.commands.tenant import connected
from aios.infra.commands.watching import watch
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail
from aios.infra.running import found_running
from aios.processors.language import workflow_files
from aios.schemas.models import ModelActivated, PromptActivated
from aios.sinks import audit_chain
from aios.sinks.audit import chain_folder
from aios.streams import activations, model_files
from aios.streams.activations import PERMILLE, RETIRED, Limits
from aios.streams.errors import ConfigError
from aios.streams.principals import Role
from aios.streams.topics import MODEL_ACTIVATED

ROOT = Path(__file__).parents[2]
WORKERS_PYTHON = ROOT / ".venv-inference" / "bin" / "python"
ENCODER = "triage-encoder"
NEW = "`aios model new NAME --from NAME@VERSION`"
WORKFLOW = workflow_files.FOLDER / "document.triage.yaml"
THRESHOLDS = ("confidence_min", "out_of_scope_max")
LIST = ("model", "task", "serves", "about")


@click.group("model")
def group() -> None:
    """Model versions: list, card, new, train, evaluate, activate, retire, watch."""


group.add_command(new)
group.add_command(watch)


# ── what there is ────────────────────────────────────────────────────────────────────────────────────


@group.command("list")
@JSON
def list_(as_json: bool) -> None:
    """Every version, and which of them serve. All cases, a canary's share, or none; a draft serves nobody."""
    told: Mapping[str, ModelActivated] = {}
    if found_running() is not None:
        with connected() as (settings, codec):
            told = activations.read(settings.kafka, codec)
    found = [
        {
            "model": reference,
            "task": model_files.card(reference).task,
            "serves": serves(reference, told.get(reference.partition("@")[0])),
            "about": model_files.card(reference).about,
        }
        for reference in [*model_files.known(), *model_files.drafts()]
    ]
    output.rows(found, LIST, as_json=as_json, none="no models")


def serves(reference: str, told: ModelActivated | None) -> str:
    """Which share of cases a version serves, in words; told: the model's last activation."""
    name, _, version = reference.partition("@")
    if int(version) not in model_files.versions(name):
        return "nobody, a draft"
    if told is None:
        return "all, as the newest" if int(version) == model_files.newest(name) else ""
    if told.version == RETIRED:
        return "retired"
    if int(version) == told.canary_version:
        return f"{told.canary_permille / 10:g} %, canary"
    if int(version) != told.version:
        return ""
    return f"{(PERMILLE - told.canary_permille) / 10:g} %" if told.canary_version else "all"


@group.command()
@click.argument("name", required=False)
@JSON
def card(name: str | None, as_json: bool) -> None:
    """The card of NAME@VERSION: data, quality, limits, licence. Without NAME: which models there are."""
    if name is None:
        found = [model_files.card(reference) for reference in [*model_files.known(), *model_files.drafts()]]
        output.rows([one.model_dump() for one in found], ("model", "task", "about"), as_json=as_json, none="no models")
        return
    shown = _known(name).model_dump(exclude_defaults=True, mode="json")
    metrics = model_files.metrics(name)
    if as_json:
        output.one(shown | ({"metrics": metrics} if metrics else {}), as_json=True)
        return
    click.echo(yaml.safe_dump(shown, sort_keys=False, width=100).rstrip())
    if metrics:
        click.echo()
        model_figures.show(metrics)


def _is_judged_as_it_is(name: str) -> None:
    """Or an exit: its heads are others than its figures are of."""
    if why := model_files.changed(name):
        fail(why)


def _known(name: str) -> model_files.Card:
    """The card of NAME@VERSION, or an exit."""
    try:
        return model_files.card(name)
    except ConfigError as error:
        fail(str(error), NOT_FOUND)


# ── how it came about ────────────────────────────────────────────────────────────────────────────────


@group.command()
@click.argument("name", default=lambda: f"{ENCODER}@{model_files.newest(ENCODER)}")
@click.option("--again", is_flag=True, help="A version that has figures, and has served nobody yet.")
def train(name: str, again: bool) -> None:
    """Train the heads of NAME. On its labels, data/HEAD/labels.csv, or on what ships of the encoder that ships.

    --again is refused for a version of which the system that runs here knows that it serves or was activated.

    The weights stay as they are. The first time may take minutes: every text is embedded by the engine that serves. The
    same embeddings give the same heads. The encoder that ships is tuned by
    `python -m aios.inference_workers.training.tune`.
    """
    _labels_by_heads(name)
    if not _has_labels(name) and not (model_files.folder(name) / "adapter.safetensors").is_file():
        fail(
            f"{name} has no {model_files.DATA}/HEAD/{labels.FILE}: put labels there, or make a version for them: {NEW}"
        )
    if model_files.metrics(name) and not again:
        fail(f"{name} has figures, so somebody may have decided with it: make the next version ({NEW}), or say --again")
    if again and (how := _has_served(name)):
        fail(f"{name} {how}, and a version that has served is never changed: make the next version ({NEW})")
    model_figures.show(_run("train", name))


@group.command()
@click.argument("name", default=lambda: f"{ENCODER}@{model_files.newest(ENCODER)}")
@click.option("--through-pipeline", is_flag=True, help="Ask the running system's workers, through Kafka.")
@JSON
def evaluate(name: str, through_pipeline: bool, as_json: bool) -> None:
    """Judge NAME on what training did not see. At the shipped thresholds.

    A head with labels of its own on their split test; those that ship on CLINC150's and BANKING77's test splits and the
    demo's letters. calibrated_here: temperature and out-of-scope score of the head were fitted on these texts, so that
    only its accuracy is of unseen ones. By chance: up to what the calibration error of an exact head is, on as many
    texts; of few, one confidence that differs in its last digit moves the error.
    """
    _labels_by_heads(name)
    if not model_files.heads(name):
        fail(f"{name} has no heads yet: `aios model train {name}`")
    _is_judged_as_it_is(name)
    if not through_pipeline:
        metrics = _run("evaluate", name)
        output.one(metrics, as_json=True) if as_json else model_figures.show(metrics)
        return
    from aios.infra.judging import judge  # a system must run for it

    with connected() as (settings, codec):
        try:
            figures = judge(settings, codec, name)
        except ConfigError as error:
            fail(str(error))
    columns = (
        "head",
        "texts",
        "accuracy",
        "calibration_error",
        "calibration_by_chance",
        "out_of_scope_auroc",
        "calibrated_here",
        "failed",
        "seconds",
    )
    output.rows(figures, columns, as_json=as_json, none="this version has no unseen texts")


def _labels_by_heads(name: str) -> None:
    """Or an exit that says what judges it instead."""
    task = _known(name).task
    if task == "generate":
        fail(f"{name} writes: it is judged by the evaluation sets of prompts: `aios prompt test PROMPT --model {name}`")
    if task == "embed":
        fail(f"{name} makes vectors and labels nothing, so that there is nothing to train or to judge")


def _has_labels(name: str) -> bool:
    try:
        return bool(labels.files(name))
    except ConfigError as error:
        fail(str(error))


def policy() -> dict[str, dict[str, float]]:
    """The shipped workflow's thresholds, by head."""
    channels = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["policy"]
    return {one["head"]: {name: one[name] for name in THRESHOLDS} for one in channels.values() if "head" in one}


def _has_served(name: str) -> str:
    """In words; empty: it has not, as far as the system that runs here knows, or none runs."""
    if found_running() is None:
        return ""
    stem, _, version = name.partition("@")
    with connected() as (settings, codec):
        told = activations.read(settings.kafka, codec).get(stem)
    if told is None and int(version) in model_files.versions(stem)[-1:]:
        return "serves every case, as the newest"
    if told is not None and int(version) in {told.version, told.canary_version}:
        return "serves cases"
    return "was activated" if int(version) in _activated(settings.home, stem) else ""


def _activated(home: Path, stem: str) -> Iterator[int]:
    """The versions of a model, for all cases or as a canary, as the audit chain of this home has them."""
    case = f"{MODEL_ACTIVATED.key}:{stem}"
    for line in audit_chain.of_case(chain_folder(home), case):
        event = line.record["event"]
        if event["case_id"] == case and event["transition"] == "model_activated":
            detail = json.loads(event["detail"])
            yield from (detail["version"], detail["canary_version"])


def _run(verb: str, name: str) -> dict[str, Any]:
    """Spawn the trainer where its libraries are; what it says of its progress goes to the terminal."""
    if not WORKERS_PYTHON.exists():
        fail("the workers' environment .venv-inference is not there: run `make setup`")
    done = subprocess.run(
        [WORKERS_PYTHON, "-m", "aios.inference_workers.training.train", verb, name, json.dumps(policy())],
        env=os.environ | {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        fail(f"{verb} ended with status {done.returncode}; its last words stand above")
    metrics: dict[str, Any] = json.loads(done.stdout)
    return metrics


# ── which of them serves ─────────────────────────────────────────────────────────────────────────────


@group.command()
@click.argument("name")
@click.option("--canary", "percent", type=click.FloatRange(0.1, 100), help="For this share of cases alone, in percent.")
@click.option("--limits", default="", help="JSON of what ends the canary: error_share, latency_ratio, override_share.")
@WHY
@TOKEN
@JSON
def activate(
    *, name: str, percent: float | None, limits: str, why: str, token_file: Path | None, as_json: bool
) -> None:
    """Let NAME@VERSION serve new cases, or a share of them. A canary's share is chosen by the case. Audited.

    A case keeps the version it began with. An earlier version is activated in the same way. Where nobody has activated
    one, the newest that ships serves: a canary of it is refused until the version that keeps the others is activated. A
    model that writes answers the evaluation sets of the prompts that serve by it, and is refused below a threshold.
    """
    _known(name)
    if not model_files.metrics(name) and model_files.card(name).task == "classify":
        fail(f"nobody has judged {name}: `aios model evaluate {name}` does")
    _is_judged_as_it_is(name)
    if unsaid := model_files.card(name).unsaid:
        path = model_files.folder(name) / model_files.CARD
        fail(f"the card of {name} does not say yet: {', '.join(unsaid)}; say it in {path}")
    try:
        Limits.read(limits)
    except ConfigError as error:
        fail(str(error), USAGE)
    if limits and percent is None:
        fail("--limits belong to a canary: --canary PERCENT", USAGE)
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        told = _after(activations.read(settings.kafka, codec), name, percent, limits)
        if model_files.card(name).task == "generate":
            _writes_well(name, activations.read_prompts(settings.kafka, codec))
            told = _after(activations.read(settings.kafka, codec), name, percent, limits)  # it took minutes
        told = activations.write(settings.kafka, codec, told, by=by, reason=why)
    _said(told, as_json)


def _after(serving: Mapping[str, ModelActivated], name: str, percent: float | None, limits: str) -> ModelActivated:
    """What serves once this version does. Or an exit."""
    stem, _, version = name.partition("@")
    try:
        return activations.activated(
            serving.get(stem),
            stem,
            int(version),
            stable=model_files.newest(stem),
            canary_permille=round((percent or 0) * 10),
            limits=limits,
        )
    except ConfigError as error:
        fail(str(error), FAILED)


def _writes_well(name: str, told: Mapping[str, PromptActivated]) -> None:
    """Or an exit: prompts that serve passed with another version."""
    try:
        low = [f"{one.prompt} {evaluating.line(one)}" for one in evaluating.below(name, evaluating.serving(told))]
    except ConfigError as error:
        fail(str(error), FAILED)
    if low:
        fail(f"{name} is not activated: with it {'; '.join(low)}: `aios prompt test PROMPT --model {name}` shows why")


@group.command()
@click.argument("name")
@WHY
@TOKEN
@JSON
def retire(name: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Ask the model NAME no more, in any version. Steps that need it go to a person at once. Audited.

    `aios model activate` brings it back. Cases that wait for its answer still get it.
    """
    if name not in model_files.names():
        fail(f"there is no model {name}; there are {', '.join(model_files.names())}", NOT_FOUND)
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        told = ModelActivated(model=name, version=RETIRED, reason="", by="", activated_at=0)
        told = activations.write(settings.kafka, codec, told, by=by, reason=why)
    _said(told, as_json)


def _said(told: ModelActivated, as_json: bool) -> None:
    if as_json:
        output.one(
            {
                "model": told.model,
                "version": told.version,
                "canary_version": told.canary_version,
                "canary_permille": told.canary_permille,
                "by": told.by,
                "activated_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(told.activated_at / 1000)),
            },
            as_json=True,
        )
    elif told.version == RETIRED:
        click.echo(f"{told.model} is retired; what needs it is decided by people")
    elif told.canary_version:
        share, other = f"{told.canary_permille / 10:g} %", f"{told.model}@{told.version}"
        click.echo(f"{told.model}@{told.canary_version} serves {share} of new cases, {other} the others")
    else:
        click.echo(f"{told.model}@{told.version} serves every new case")


# ── figures for people ───────────────────────────────────────────────────────────────────────────────
