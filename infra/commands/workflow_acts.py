"""`aios workflow list|diff|deploy|activate|autonomy|cancel|migrate`: workflows of a running system.

In: a workflow file, or the name of one that is there; a running system; the token of an operator. Out: workflow.
deployed.v1 and workflow.activated.v1 under that operator's name, each with its audit record; for open cases, what the
gateway is asked. Guaranteed: a version comes only when it is without a mistake, signed off, and all its recorded cases
come out as recorded; what widens autonomy stands in the audit as such; what would happen to open cases can be seen
before (--dry-run).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from aios.infra import client, deploying, open_cases, output
from aios.infra.client import NoAnswer, Server
from aios.infra.commands import operations
from aios.infra.commands.acting import acting
from aios.infra.commands.operations import JSON, TOKEN
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail
from aios.infra.running import unread
from aios.processors.cases import limited
from aios.processors.language import workflow_files
from aios.processors.language.workflow_files import Live, Sound
from aios.schemas.codec import Codec
from aios.schemas.models import WorkflowActivated
from aios.streams import deployments, installed
from aios.streams.activations import PERMILLE, RETIRED
from aios.streams.config import Settings
from aios.streams.deployments import MIGRATED, MODES
from aios.streams.errors import ConfigError
from aios.streams.principals import Role
from aios.streams.topology import ADMIT

WHY = click.option("--why", required=True, help="Stands in the audit; for people.")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LIST = ("workflow", "version", "from", "input", "state", "autonomy", "by", "why")


@click.command("list")
@JSON
def list_(as_json: bool) -> None:
    """Every version that is here, and which of them new cases take. Shipped or deployed."""
    with connected() as (settings, codec):
        known = deploying.there(settings, codec)
    shipped = {each.reference: each for each in workflow_files.shipped()}
    newest = {each.workflow: each.version for each in sorted(shipped.values(), key=lambda one: one.version)}
    found: list[dict[str, Any]] = []
    for reference in sorted(shipped.keys() | known.deployed.keys()):
        name, _, number = reference.partition("@")
        active, told = known.activated.get(name), known.deployed.get(reference)
        serving = active.version if active is not None else newest.get(name, -1)
        taken = deployments.declared_input(told.definition) if told is not None else shipped[reference].input
        found.append(
            {
                "workflow": name,
                "version": int(number),
                "from": "deployed" if told is not None else "shipped",
                "input": taken,
                "state": "active" if serving == int(number) else "retired" if serving == RETIRED else "",
                "autonomy": _autonomy(active) if active is not None and serving == int(number) else "",
                "by": told.by if told is not None else "",
                "why": told.reason if told is not None else "",
            }
        )
    output.rows(found, LIST, as_json=as_json, none="no workflow")


@click.command()
@click.argument("file", type=FILE)
@click.argument("other", required=False)
@JSON
def diff(file: Path, other: str | None, as_json: bool) -> None:
    """What FILE changes of OTHER, a file or a NAME@VERSION. Default: of the version that new cases take now."""
    after = _sound(file)
    if other is not None and other.endswith(".yaml"):
        before = _sound(Path(other))
    else:
        with connected() as (settings, codec):
            before = _there(settings, codec, other or after.workflow.workflow)
    lines = deploying.compared(before, after)
    if as_json:
        click.echo(json.dumps({"from": before.workflow.reference, "to": after.workflow.reference, "changes": lines}))
        return
    click.echo(f"{before.workflow.reference} → {after.workflow.reference}")
    click.echo("\n".join(lines) or "nothing changes but its version")


@click.command()
@click.argument("file", type=FILE)
@WHY
@click.option("--inactive", is_flag=True, help="Only make it known; `aios workflow activate` lets new cases take it.")
@TOKEN
@JSON
def deploy(file: Path, why: str, inactive: bool, token_file: Path | None, as_json: bool) -> None:
    """Bring FILE to the running system, without a restart. New cases take it; open ones finish on their version.

    FILE is checked, and its recorded cases (NAME.cases.yaml beside it) must come out as recorded. Its input contract,
    where it has one of its own, stands beside it as CONTRACT.avsc; its topic is created, and admit begins to read it.
    """
    try:
        judged = deploying.judge(file)
    except ConfigError as error:
        fail(str(error))
    for one in judged.ran:
        for line in one.wrong:
            click.echo(f"✗ {one.name}: {line}", err=True)
    for warned in limited.warnings(judged.sound.workflow, installed.pools()):
        click.echo(warned, err=True)
    if why_not := unread():
        fail(why_not)
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        try:
            told, active = deploying.deploy(settings, codec, judged, by=by, reason=why, active=not inactive)
        except ConfigError as error:
            fail(str(error))
        topic = judged.sound.input.contract
        read = deploying.is_read(settings.kafka, topic, ADMIT.group)
    said = {
        "workflow": told.workflow,
        "version": told.version,
        "active": active is not None and active.version == told.version,
        "autonomy": _autonomy(active) if active is not None else "",
        "tests": json.loads(told.tests),
        "input": topic,
        "read": read,
        "by": told.by,
    }
    passed = f"{judged.tests.passed} of {judged.tests.all}"
    shown = {"active": _yes(said["active"]), "tests": passed, "read": _yes(read)}
    output.one(said if as_json else said | shown, as_json=as_json)
    if not read:
        fail(f"it is deployed, but no admit reads {topic} yet: is it running? (`aios status`)", FAILED)


@click.command()
@click.argument("reference")
@WHY
@TOKEN
@JSON
def activate(reference: str, why: str, token_file: Path | None, as_json: bool) -> None:
    """Let new cases take NAME@VERSION. Another one that is here, or a retired one again. Audited."""
    name, _, version = reference.partition("@")
    if not version.isdigit():
        fail(f"{reference}: expected NAME@VERSION", USAGE)
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        found = _there(settings, codec, reference)
        before = deploying.there(settings, codec).activated.get(name)
        try:
            told = deploying.activate(settings.kafka, codec, found.workflow, before, by=by, reason=why)
        except ConfigError as error:
            fail(str(error))
    _said(told, as_json)


@click.command()
@click.argument("name")
@click.argument("mode", type=click.Choice(MODES))
@click.option("--share", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Of cases, by hash.")
@WHY
@TOKEN
@JSON
def autonomy(*, name: str, mode: str, share: float, why: str, token_file: Path | None, as_json: bool) -> None:
    """How far new cases of NAME decide alone. MODE for a share of them, the next lower one for the rest. Audited."""
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        found = _there(settings, codec, name)
        if found.workflow.autonomy is None:
            fail(f"{found.workflow.reference} names nobody to ask: `autonomy: {{ask: STEP}}` in its file", FAILED)
        before = deploying.standing(found.workflow, deploying.there(settings, codec))
        wanted = (mode, round(share * PERMILLE))
        told = deploying.activate(settings.kafka, codec, found.workflow, before, by=by, reason=why, said=wanted)
    _said(told, as_json)


@click.command()
@click.argument("name")
@WHY
@click.option("--open-cases", "with_cases", is_flag=True, help="Call its open cases off, too; else they finish.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--gateway", envvar="GATEWAY", help="URL; default: GATEWAY, else the one that runs here.")
@TOKEN
@JSON
def cancel(
    *,
    name: str,
    why: str,
    with_cases: bool,
    dry_run: bool,
    gateway: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Retire NAME: new events of it are refused. `aios workflow activate` brings it back."""
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR)
        known = deploying.there(settings, codec)
        retired = name in known.activated and known.activated[name].version == RETIRED
        if not retired:
            before = deploying.standing(_there(settings, codec, name).workflow, known)
            if not dry_run:
                deploying.retire(settings.kafka, codec, name, before, by=by, reason=why)
        cases = open_cases.read(settings, codec, name) if with_cases else []  # none is opened any more
    refused: list[str] = []
    if cases and not dry_run:
        server = operations.gateway(gateway, token_file)
        answers = [(one.case_id, _refused(server, one.case_id, "cancel", {"reason": why})) for one in cases]
        refused = [f"{case_id}: {says}" for case_id, says in answers if says]
    done = 0 if dry_run else len(cases) - len(refused)
    said: dict[str, Any] = {"workflow": name, "retired": retired or not dry_run, "dry_run": dry_run}
    if as_json:
        output.one(said | ({"open_cases": len(cases), "called_off": done} if with_cases else {}), as_json=True)
        _left("called off", refused)
        return
    now = "would be" if dry_run else "is"
    then = "would be" if dry_run else "are"
    click.echo(f"{name} is retired already" if retired else f"{name} {now} retired: new events of it {then} refused")
    if with_cases and dry_run:
        click.echo(f"{len(cases)} open cases would be called off")
    elif with_cases:
        click.echo(f"{done} of {len(cases)} open cases are called off")
        _left("called off", refused)
    else:
        click.echo("open cases finish on their version; --open-cases calls them off")


STAYS = (
    "what stays finishes on its own version, which is kept for it; `aios case cancel` calls a case off, and its input "
    "may be handed in again under another key"
)


@click.command()
@click.argument("name")
@click.option("--to", "to", type=click.IntRange(1), required=True, help="The version they are to run on.")
@click.option("--from", "from_", type=click.IntRange(1), help="Only those of this version; default: of any other.")
@click.option("--case", "cases", multiple=True, help="Only this case; may be given again and again.")
@click.option("--step", default="", help="Only those that wait in this step.")
@click.option("--dry-run", is_flag=True, help="Only say which would go, and why others would not.")
@click.option("--gateway", envvar="GATEWAY", help="URL; default: GATEWAY, else the one that runs here.")
@TOKEN
@JSON
def migrate(
    *,
    name: str,
    to: int,
    from_: int | None,
    cases: tuple[str, ...],
    step: str,
    dry_run: bool,
    gateway: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Move open cases of NAME to another version. A case stays in its step, which must ask the same there.

    How often it asks may be another. A case that cannot go finishes on its version, which is kept for it.

    What a case will do is judged by plan, when it is told: a case that has gone on meanwhile may stay, and its audit
    says why.
    """
    with connected() as (settings, codec):
        _there(settings, codec, f"{name}@{to}")  # also where no case is open: nobody is to pass over a slip
        try:
            with deployments.loaded(settings.kafka, codec) as tables:
                live = Live(workflow_files.shipped(), tables)
                found = open_cases.read(settings, codec, name)
                wanted = [
                    one
                    for one in found
                    if one.workflow_version != to
                    and (from_ is None or one.workflow_version == from_)
                    and (not cases or one.case_id in cases)
                    and (not step or step == open_cases.step_of(one))
                ]
                judged = [(one, open_cases.judge(one, live, to)) for one in wanted]
        except ConfigError as error:
            fail(str(error), NOT_FOUND)
    server = None if dry_run else operations.gateway(gateway, token_file)
    told: list[dict[str, Any]] = []
    refused: list[str] = []
    for one, why_not in judged:
        says = "" if why_not or server is None else _refused(server, one.case_id, "events", _wish(to))
        refused += [f"{one.case_id}: {says}"] if says else []
        moved = not why_not and not says
        told.append(
            {
                "case_id": one.case_id,
                "from": one.workflow_version,
                "step": one.step,
                "moves": "would go" if moved and dry_run else "told" if moved else "stays",
                "why": why_not or says,
            }
        )
    output.rows(told, ("case_id", "from", "step", "moves", "why"), as_json=as_json, none="no open case would move")
    if not as_json and any(one["moves"] == "stays" for one in told):
        click.echo(STAYS)
    _left("told", refused)


def _wish(to: int) -> dict[str, Any]:
    return {"kind": MIGRATED, "body": {"to": to}}


def _refused(server: Server, case_id: str, what: str, body: dict[str, Any]) -> str:
    """Why the gateway did not take it; empty: it did."""
    try:
        client.asked(server, f"/v1/cases/{quote(case_id, safe='')}/{what}", "POST", body)
    except NoAnswer as error:
        return str(error)
    return ""


def _left(what: str, refused: list[str]) -> None:
    """Exits with FAILED where some are left; a case that was decided meanwhile is one of them, and is named."""
    if refused:
        fail("\n".join([f"not {what}:", *refused]), FAILED)


def _sound(file: Path) -> Sound:
    found, problems = workflow_files.read_file(file)
    if found is None:
        fail("\n".join(problems))
    return found


def _there(settings: Settings, codec: Codec, name: str) -> Sound:
    """A workflow of the running system: NAME@VERSION, or NAME for what new cases take. Exits with NOT_FOUND."""
    known = deploying.there(settings, codec)
    plain, _, version = name.partition("@")
    if not version:
        active = known.activated.get(plain)
        if active is not None and active.version == RETIRED:
            fail(f"{plain} is retired: name one of its versions, or activate one; `aios workflow list`", NOT_FOUND)
        latest = workflow_files.shipped().latest(plain)
        version = str(active.version if active is not None else latest.version if latest is not None else "")
    told = known.deployed.get(f"{plain}@{version}")
    if told is not None:
        return workflow_files.of_deployed(told)
    shipped = [each for each in workflow_files.shipped() if each.reference == f"{plain}@{version}"]
    if not shipped:
        fail(f"there is no workflow {name} here; `aios workflow list` shows them", NOT_FOUND)
    entry = workflow_files.shipped().entry(shipped[0].input)
    if entry is None:
        fail(f"{name} takes {shipped[0].input}, which is not here", NOT_FOUND)
    return Sound(workflow=shipped[0], text="", input=entry.input)


def _autonomy(told: WorkflowActivated) -> str:
    return told.autonomy if told.auto_permille == PERMILLE else f"{told.autonomy} for {told.auto_permille / 10:g} %"


def _yes(fact: object) -> str:
    return "yes" if fact else "no"


def _said(told: WorkflowActivated, as_json: bool) -> None:
    if as_json:
        shown = {name: getattr(told, name) for name in ("workflow", "version", "autonomy", "auto_permille", "by")}
        output.one(shown, as_json=True)
    else:
        click.echo(f"new cases take {told.workflow}@{told.version}; alone: {_autonomy(told)}")
