"""`aios prompt list|new|diff|test|activate|history|rollback`: the life of a prompt.

Enters: prompts of the release and of a team's own folder; a model that answers, in the workers' environment; for what
serves, the running system. Leaves: a new file; what a version makes of its evaluation set, or of recorded cases, with
an exit code that a build can stop at; prompt.activated.v1 and its audit record, under the name of who acts. Guaranteed:
no version is activated, not even for a rollback, whose evaluation was not passed; who acts is whom the token belongs
to.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aios.inference_workers import evaluation
from aios.inference_workers.evaluation import Judged
from aios.infra import client, evaluating, output
from aios.infra.commands.acting import acting
from aios.infra.commands.operations import WHY, at
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail
from aios.infra.running import found_running, load_settings
from aios.schemas.models import PromptActivated
from aios.sinks import audit_chain
from aios.sinks.audit import chain_folder
from aios.streams import activations, prompt_files, whole
from aios.streams.errors import AiosError, ConfigError
from aios.streams.principals import Role
from aios.streams.prompt_files import Prompt, Recorded
from aios.streams.topics import PROMPT_ACTIVATED

ANSWER_CHARS_MAX = 160  # of an answer in a table
VERSION_LINE = re.compile(r"^version:.*$", re.MULTILINE)
NAME_LINE = re.compile(r"^name:.*$", re.MULTILINE)
SET_LINE = re.compile(r"^prompt:.*$", re.MULTILINE)

_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")
_engine = click.option("--engine", default="", help="vllm, openai or echo; default: as the settings say.")


@click.group("prompt")
def group() -> None:
    """Prompts: list, new, diff, test, activate, history, rollback."""


@group.command("list")
@_json
def list_(as_json: bool) -> None:
    """Every version, whether it passed, and which serves."""
    serving = _serving()
    found = [
        {
            "prompt": one.reference,
            "serves": "yes" if serving.get(one.name) == one.version else "",
            "evaluation": "; ".join(
                evaluating.line(prompt_files.evaluated(one.reference, each)) for each in one.models
            ),
            "model": ", ".join(one.models),
            "contract": one.contract,
            "about": one.about,
        }
        for one in map(prompt_files.load, prompt_files.known())
    ]
    columns = ("prompt", "serves", "evaluation", "model", "contract", "about")
    output.rows(found, columns, as_json=as_json, none="no prompts")


@group.command()
@click.argument("name")
@click.option("--from", "source", default="", metavar="NAME@VERSION", help="Default: its own newest version.")
def new(name: str, source: str) -> None:
    """Make the next version of prompt NAME, or a new prompt. A file to edit; it serves nobody until activated."""
    if not prompt_files.REFERENCE.fullmatch(f"{name}@1"):
        fail(f"{name[:64]!r}: a name is a-z, 0-9 and '-', and begins with a letter", USAGE)
    there = prompt_files.versions(name)
    template = _known(source or (f"{name}@{there[-1]}" if there else ""))
    version = (there[-1] if there else 0) + 1
    path = prompt_files.folder(name) / f"{version}.md"
    text = _file(template).read_text(encoding="utf-8")
    text = VERSION_LINE.sub(f"version: {version}", NAME_LINE.sub(f"name: {name}", text, count=1), count=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    made = [path]
    if not evaluation.path_of(name).exists():
        cases = evaluation.path_of(template.name).read_text(encoding="utf-8")
        evaluation.path_of(name).write_text(SET_LINE.sub(f"prompt: {name}", cases, count=1), encoding="utf-8")
        made.append(evaluation.path_of(name))
    for each in made:
        click.echo(f"{each}: a copy of {template.reference}'s; edit it")
    click.echo(f"then: aios prompt test {name}@{version} --record")


@group.command()
@click.argument("before")
@click.argument("after")
def diff(before: str, after: str) -> None:
    """What differs between two versions, NAME@VERSION each. The files line by line, and their evaluations."""
    first, second = _known(before), _known(after)
    lines = difflib.unified_diff(
        _file(first).read_text(encoding="utf-8").splitlines(),
        _file(second).read_text(encoding="utf-8").splitlines(),
        first.reference,
        second.reference,
        lineterm="",
    )
    click.echo("\n".join(lines))
    for one in (first, second):
        click.echo(f"{one.reference}: {evaluating.line(prompt_files.evaluated(one.reference))}")


@group.command()
@click.argument("reference", metavar="NAME@VERSION")
@click.option("--against", type=click.Choice(["evaluation", "history"]), default="evaluation", show_default=True)
@click.option("--model", default="", metavar="NAME@VERSION", help="It answers, instead of the prompt's own.")
@click.option("--record", is_flag=True, help="Keep the result beside the prompt; a passed one lets it be activated.")
@click.option("--all", "everything", is_flag=True, help="Show what passed too.")
@click.option("--cases", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Recorded ones, newest.")
@click.option(
    "--changed-max", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="Decisions; the gate."
)
@click.option(
    "--failed-more-max", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="The gate's other."
)
@_engine
@_json
def test(
    *,
    reference: str,
    against: str,
    model: str,
    record: bool,
    everything: bool,
    cases: int,
    changed_max: float,
    failed_more_max: float,
    engine: str,
    as_json: bool,
) -> None:
    """Try a version on its evaluation set, or on recorded cases. Those (--against history) of the running system.

    Against history NAME@VERSION may be a model's too. Exit code 1 where a threshold is not reached, or more decisions
    would change than the gate allows.
    """
    if against == "history":
        from aios.infra.commands import prompt_history  # reads Kafka, and loads the workflows

        gate = prompt_history.Gate(changed_max=changed_max, failed_more_max=failed_more_max)
        tried = prompt_history.tried(reference, model)
        raise click.exceptions.Exit(prompt_history.run(tried, cases, gate, engine=engine, as_json=as_json))
    chosen = _known(reference)
    if record and model and not chosen.made_for(model):
        fail(f"--record keeps what {' or '.join(chosen.models)} made of it; {model} does not serve it", USAGE)
    found, judged = evaluating.evaluate(chosen, model=model, engine=engine)
    if record:
        _keep(found)
    if as_json:
        output.one(found.model_dump() | {"cases": [_plain(one) for one in judged]}, as_json=True)
    else:
        _show(found, [one for one in judged if everything or one.wrong])
    if not found.passed:
        raise click.exceptions.Exit(FAILED)


@group.command()
@click.argument("reference", metavar="NAME@VERSION")
@click.option("--again", is_flag=True, help="Evaluate anew, even if the result beside the file is of this very file.")
@_engine
@WHY
@client.token_file
@_json
def activate(*, reference: str, again: bool, engine: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let a version serve every case that comes to it from now on. Refused below the thresholds of its evaluation set.

    The version of its model that serves answers it, and a canary's for itself; so do those of each model that it is
    also for, and all have to pass. The result is kept beside its file: plan and workers, which read both, answer nobody
    with another text. A case that has begun with another version ends with it. Audited under the name that the token
    belongs to.
    """
    chosen = _known(reference)
    found = _passed_by_all(chosen, again=again, engine=engine, as_json=as_json)
    _activate(chosen.name, chosen.version, found, why=why, token_file=token_file, as_json=as_json)


@group.command()
@click.argument("name")
@_json
def history(name: str, as_json: bool) -> None:
    """Which version of prompt NAME served when, and who said so. As the audit chain has it, with the reason."""
    found = _history(name)
    shown = [each if as_json else each | {"evaluation": evaluating.line(each["evaluation"])} for each in found]
    for each in shown:
        if as_json:
            each["evaluation"] = each["evaluation"].model_dump()
    columns = ("prompt", "at", "by", "why", "evaluation")
    none = f"nobody has activated a version of {name} in this home: the newest that passed its evaluation set serves"
    output.rows(shown, columns, as_json=as_json, none=none)


@group.command()
@click.argument("name")
@_engine
@WHY
@client.token_file
@_json
def rollback(*, name: str, engine: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let that version of NAME serve again that served before. Refused below the thresholds, as by `activate`.

    The evaluation that it had then is as good as one that is kept: of the same evaluation set, and of the version of
    its model that serves now. Else it is evaluated first.
    """
    with connected() as (settings, codec):
        now = activations.read_prompts(settings.kafka, codec).get(name)
    if now is None:
        fail(f"nobody has activated a version of {name}, so there is none to go back from", NOT_FOUND)
    before = _before(name, now)
    chosen = _known(before.prompt)
    if chosen.digest != before.prompt_digest:
        fail(f"{before.prompt} was changed since it served; `aios prompt activate` evaluates it as it is now")
    found = _passed_by_all(chosen, before, again=False, engine=engine, as_json=as_json)
    _activate(
        name,
        chosen.version,
        found,
        why=why or f"back from {name}@{now.version}",
        token_file=token_file,
        as_json=as_json,
    )


# ── evaluations ──


def _passed_by_all(
    chosen: Prompt, then: Recorded | None = None, *, again: bool, engine: str, as_json: bool
) -> Recorded:
    """What its own model makes of it, in the version that serves; kept, like each other model's. Exits where one of
    them, or a canary's version, makes too little of it. then: as good as a kept one.
    """
    with connected() as (settings, codec):
        told = activations.read(settings.kafka, codec)
    models = [version for model in chosen.models for version in evaluating.served(model, told)]
    found = [_passed(chosen, model, then, again=again, engine=engine, as_json=as_json) for model in models]
    for each in found:
        _keep_new(each)  # of a model, the version that serves comes before its canary's
    return found[0]


def _passed(chosen: Prompt, model: str, then: Recorded | None, *, again: bool, engine: str, as_json: bool) -> Recorded:
    """What a model of the prompt makes of it: as kept, as of then, or tried now. Exits where that is too little."""
    found = None if again else _recorded(chosen, model, then)
    if found is None:
        found, judged = evaluating.evaluate(chosen, model=model, engine=engine)
        if not found.passed and not as_json:
            _show(found, [one for one in judged if one.wrong])
    if not found.passed:
        says = f"{chosen.reference} is not activated: {evaluating.line(found)} with {found.model}"
        fail(f"{says}; `aios prompt test {chosen.reference} --model {found.model}` shows why")
    return found


def _recorded(chosen: Prompt, model: str, then: Recorded | None) -> Recorded | None:
    """The kept result, or that of then, if it is of this very file and set, and of the version that is asked for."""
    try:
        kept = prompt_files.evaluated(chosen.reference, model)
        if kept is None and then is None:
            return None
        digest = evaluation.load(chosen.name).digest
    except ConfigError as error:
        fail(str(error))
    of_set = [one for one in (kept, then) if one is not None and one.set_digest == digest]
    return next((one for one in of_set if model in {one.model, one.model.partition("@")[0]}), None)


def _keep(found: Recorded) -> None:
    path = prompt_files.record_of(found.prompt, found.model)
    try:
        whole.write(path, json.dumps(found.model_dump(), indent=1) + "\n")  # workers ask for it with each request
    except OSError as error:
        fail(f"{path}: {error.strerror}: workers answer by no prompt without the record of its evaluation beside it")


def _keep_new(found: Recorded) -> None:
    if prompt_files.evaluated(found.prompt, found.model) is None:
        _keep(found)


def _show(found: Recorded, judged: list[Judged]) -> None:
    kinds = [
        {"kind": kind, "passed": f"{one['passed']:.0f} of {one['all']:.0f}", "needed": f"{one['needed']:.0%}"}
        for kind, one in found.kinds.items()
    ]
    output.rows(kinds, ("kind", "passed", "needed"), as_json=False, none="")
    if judged:
        click.echo()
    shown = [_plain(one) | {"answer": _short(_said(one))} for one in judged]
    output.rows(shown, ("case", "kind", "wrong", "answer"), as_json=False, none="")
    click.echo(f"\n{found.prompt} on {found.model}, {found.engine}: {evaluating.line(found)}")


def _plain(one: Judged) -> dict[str, Any]:
    return {"case": one.case.id, "kind": one.case.kind, "wrong": one.wrong, "given": asdict(one.given)}


def _said(one: Judged) -> str:
    if one.given.status != "ok":
        return f"({one.given.status}: {one.given.reason})"
    return str(next((one.given.output[name] for name in ("text", "object", "choice") if name in one.given.output), ""))


def _short(text: str) -> str:
    return text if len(text) <= ANSWER_CHARS_MAX else f"{text[:ANSWER_CHARS_MAX]}…"


# ── what serves ──


def _activate(name: str, version: int, found: Recorded, *, why: str, token_file: Path | None, as_json: bool) -> None:
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        said = activations.write_prompt(settings.kafka, codec, name, version, evaluation=found, by=by, reason=why)
    if as_json:
        output.one(asdict(said), as_json=True)
        return
    click.echo(f"{name}@{version} serves every case that comes to it from now on; {evaluating.line(found)}")


def _serving() -> dict[str, int]:
    """By prompt: what was activated in the system that runs here, else what serves without that."""
    told: Mapping[str, PromptActivated] = {}
    if found_running() is not None:
        try:
            with connected() as (running, codec):
                told = activations.read_prompts(running.kafka, codec)
        except AiosError as error:
            click.echo(f"what was activated is not known: {error}", err=True)
    return evaluating.serving(told)


def _history(name: str) -> list[dict[str, Any]]:
    """Activations, the latest last. Or an exit."""
    if not prompt_files.versions(name):
        fail(f"there is no prompt {name}; there are {', '.join(prompt_files.names())}", NOT_FOUND)
    return list(_activations(name))


def _activations(name: str) -> Iterator[dict[str, Any]]:
    case = f"{PROMPT_ACTIVATED.key}:{name}"
    for line in audit_chain.of_case(chain_folder(load_settings().home), case):
        event = line.record["event"]
        if event["case_id"] != case or event["transition"] != "prompt_activated":
            continue
        detail = json.loads(event["detail"])
        yield {
            "prompt": f"{name}@{detail['version']}",
            "at": at(event["at"]) or datetime.fromtimestamp(0, UTC).isoformat(),
            "by": event["actor"],
            "why": detail["reason"],
            "evaluation": Recorded.model_validate(detail["evaluation"]),
        }


def _before(name: str, now: PromptActivated) -> Recorded:
    """The evaluation of the version that served before; of the one that served unsaid, if it is the first. Or exit."""
    for each in reversed(_history(name)):
        if each["prompt"] != f"{name}@{now.version}":
            found: Recorded = each["evaluation"]
            return found
    older = [version for version in prompt_files.versions(name) if version < now.version]
    for version in reversed(older):
        recorded = prompt_files.evaluated(f"{name}@{version}")
        if recorded is not None and recorded.passed:
            return recorded
    fail(f"no version of {name} served before {name}@{now.version}", NOT_FOUND)


def _known(reference: str) -> Prompt:
    """The prompt, or an exit that says which there are."""
    if not reference:
        fail(f"say which prompt to begin with, --from NAME@VERSION: {', '.join(prompt_files.known())}", USAGE)
    try:
        return prompt_files.load(reference)
    except ConfigError as error:
        fail(str(error), NOT_FOUND)


def _file(chosen: Prompt) -> Path:
    return prompt_files.folder(chosen.name) / f"{chosen.version}.md"
