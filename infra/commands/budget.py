"""`aios budget set|lift|show`: what tenants may spend, and where they stand.

Enters: a limit, by an operator. Leaves: budget.declared.v1, audited; what the budget stage has told last.
Guaranteed: who declares is the token's name; amounts are written in money.currency and never rounded; a limit that
would bind nothing of what it names is refused, with the workflow and the reason (processors/cases/limited.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from aios.infra import deploying, output
from aios.infra.commands.acting import acting
from aios.infra.commands.operations import JSON, TOKEN
from aios.infra.commands.tenant import connected
from aios.infra.output import FAILED, NOT_FOUND, USAGE, fail
from aios.processors.cases import limited
from aios.processors.language.workflow import Workflow
from aios.schemas.codec import Codec
from aios.schemas.models import BudgetChanged, BudgetDeclared
from aios.streams import installed, limits, money
from aios.streams.config import Settings
from aios.streams.errors import ConfigError
from aios.streams.limits import ALL, LIFTED, POLICIES, WINDOWS
from aios.streams.principals import Role
from aios.streams.wall_clock import wall_ms

COLUMNS = ("budget", "window", "hard", "left", "spent", "reserved", "soft", "policy", "denied", "wasted", "over", "by")


@click.group("budget")
def group() -> None:
    """What tenants may spend."""


@group.command("set")
@click.argument("tenant")
@click.argument("workflow", default=ALL)
@click.option("--hard", required=True, help="No more is charged; an amount in money.currency, such as 12.50.")
@click.option(
    "--per", type=click.Choice(WINDOWS), default="month", show_default=True, help="In UTC; total: it ends for good."
)
@click.option("--soft", default="0", help="Above it `show`, the log and the metrics say so; 0: none.")
@click.option(
    "--over",
    type=click.Choice(POLICIES),
    default="refuse",
    show_default=True,
    help="A case over the hard limit: refuse it, let it wait for room or the next window, or ask the cheaper pools.",
)
@TOKEN
@JSON
def set_(
    *, tenant: str, workflow: str, hard: str, per: str, soft: str, over: str, token_file: Path | None, as_json: bool
) -> None:
    """Let TENANT spend at most --hard in WORKFLOW.

    Without one: in all of its workflows together. It holds for cases that begin from now on: before their first call
    they reserve what their workflow's file says (`budget:`), and a model is asked only inside that. People are never
    stopped; what they cost beyond it is shown as `over`. Audited.
    """
    try:
        declared = limits.limit(
            tenant, workflow, window=per, hard_micro=money.parse(hard), soft_micro=money.parse(soft), policy=over
        )
    except ConfigError as error:
        fail(str(error), USAGE)
    with connected() as (settings, codec):
        declared = replace(declared, by=acting(settings, codec, token_file, Role.OPERATOR, tenant))
        serving = _serving(settings, codec)
        if workflow not in (ALL, *serving):
            fail(f"there is no workflow {workflow}: {', '.join(serving)}", NOT_FOUND)
        if why_not := limited.refused(workflow, serving, over, installed.pools()):
            fail("\n".join(why_not), FAILED)
        limits.declare(settings.kafka, codec, declared)
    _said(declared, as_json)


@group.command()
@click.argument("tenant")
@click.argument("workflow", default=ALL)
@TOKEN
@JSON
def lift(tenant: str, workflow: str, token_file: Path | None, as_json: bool) -> None:
    """Take a limit away. Audited."""
    name = f"{tenant}/{workflow}"
    with connected() as (settings, codec):
        by = acting(settings, codec, token_file, Role.OPERATOR, tenant)
        known = limits.read(settings.kafka, codec).get(name)
        if known is None:
            fail(f"there is no limit {name}; `aios budget show` shows all", NOT_FOUND)
        lifted = replace(known, hard_micro=LIFTED, soft_micro=0, by=by, declared_at=wall_ms())
        limits.declare(settings.kafka, codec, lifted)
    _said(lifted, as_json)


@group.command()
@click.argument("tenant", default="")
@JSON
def show(tenant: str, as_json: bool) -> None:
    """Every limit, or those of TENANT, and where they stand. On standard error, why one binds nothing.

    left, spent, reserved: of the window that holds now. denied: refused or put off. wasted: answers that came twice or
    too late. over: used, and beyond what the limit had room for; neither is charged.
    """
    with connected() as (settings, codec):
        read, standing = limits.read(settings.kafka, codec), limits.standing(settings.kafka, codec)
        serving = _serving(settings, codec) if read else {}
    declared = [limit for _, limit in sorted(read.items()) if tenant in ("", limit.tenant)]
    found = [_row(limit, standing.get(limit.budget), as_json=as_json) for limit in declared]
    for limit in declared:
        if limit.workflow in (ALL, *serving):
            for why in limited.refused(limit.workflow, serving, limit.policy, installed.pools()):
                click.echo(f"{limit.budget}: {why}", err=True)
    output.rows(found, COLUMNS, as_json=as_json, none="no limit is declared: `aios budget set` does")


def _serving(settings: Settings, codec: Codec) -> dict[str, Workflow]:
    """By name, the version that new cases take. Raises Unavailable, ConfigError."""
    return {name: one for name, one in deploying.in_service(settings, codec).items() if one is not None}


def _row(limit: BudgetDeclared, stands: BudgetChanged | None, *, as_json: bool) -> dict[str, Any]:
    """A window that is over stands as it was told last; the next event of its tenant begins a new one."""
    now_ms = wall_ms()
    begun = stands is not None and (not stands.window_to or now_ms < stands.window_to)
    reserved = stands.reserved_micro if stands else 0
    spent = stands.spent_micro if stands and begun else 0
    amounts = {
        "hard": limit.hard_micro,
        "soft": limit.soft_micro,
        "left": max(0, limit.hard_micro - reserved - spent),
        "spent": spent,
        "reserved": reserved,
        "wasted": stands.wasted_micro if stands and begun else 0,
        "over": stands.over_micro if stands and begun else 0,
    }
    passed = 0 < limit.soft_micro < spent
    shown: dict[str, Any] = amounts if as_json else {name: money.text(micro) for name, micro in amounts.items()}
    return {
        "budget": limit.budget,
        "window": limit.window,
        "policy": limit.policy,
        "denied": stands.denied if stands and begun else 0,
        "soft_reached": passed,
        "by": limit.by,
        **shown,
        **({"soft": f"{shown['soft']} passed"} if passed and not as_json else {}),
    }


def _said(declared: BudgetDeclared, as_json: bool) -> None:
    if as_json:
        said = {"budget": declared.budget, "window": declared.window, "hard": declared.hard_micro, "by": declared.by}
        output.one(said, as_json=True)
    elif declared.hard_micro < 0:
        click.echo(f"{declared.budget}: there is no limit any more")
    else:
        click.echo(
            f"{declared.budget}: at most {money.text(declared.hard_micro)} a {declared.window}; {declared.policy}"
        )
