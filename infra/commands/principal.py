"""`aios principal add|list|remove`: who may operate this system, with which roles and skills.

Enters: a name, roles, skills. Leaves: principal.registered.v1 (streams/principals.py). A new token is printed once, on
standard output alone. Whoever reaches Kafka as an administrator makes principals; there is no principal for it.
"""

from __future__ import annotations

import time

import click

from aios.infra import output
from aios.infra.commands.tenant import connected
from aios.infra.output import NOT_FOUND, fail
from aios.streams import credentials, principals
from aios.streams.principals import Role


@click.group("principal")
def group() -> None:
    """Who may operate the system: persons and programs."""


@group.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([each.value for each in Role]),
    help="What it may do; several times.",
)
@click.option("--tenant", "tenants", multiple=True, help="It acts for these alone; several times. Default: all.")
@click.option("--all-tenants", is_flag=True, help="Of one that acts for some alone: from now on for all.")
@click.option(
    "--skill",
    "skills",
    multiple=True,
    help="What it can answer as a reviewer, as workflows name it; several times; '*': every one.",
)
@click.option("--no-skills", is_flag=True, help="Of one that has some: from now on none.")
@click.option("--only", is_flag=True, help="Its other tokens stop being valid.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def add(
    *,
    name: str,
    roles: tuple[str, ...],
    tenants: tuple[str, ...],
    all_tenants: bool,
    skills: tuple[str, ...],
    no_skills: bool,
    only: bool,
    as_json: bool,
) -> None:
    """Make the principal NAME, or one more token for it. The token is shown this once.

    Roles and skills given to one that is there already take the place of those it had.
    """
    acts_for = () if all_tenants else tenants or None
    can = () if no_skills else skills or None
    with connected() as (settings, codec):
        token = principals.register(
            settings.kafka, codec, name, roles=roles, tenants=acts_for, skills=can, retire_others=only
        )
        if name in principals.OWN:
            credentials.keep(principals.token_file(settings.home, name), token)
    if as_json:
        output.one({"principal": name, "token": token}, as_json=True)
        return
    click.echo(f"{name}: this token is shown once, and {principals.TOKENS_MAX} are valid at most; keep it", err=True)
    click.echo(token)


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(as_json: bool) -> None:
    """Every principal, its roles and skills, and since when."""
    with connected() as (settings, codec):
        found = principals.read(settings.kafka, codec)
    output.rows(
        [
            {
                "principal": name,
                "active": one.active,
                "roles": list(one.roles),
                "tenants": list(one.tenants) if as_json else (one.tenants or "all"),
                "skills": list(one.skills),
                "tokens": len(one.token_hashes),
                "since": time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.registered_at / 1000)),
            }
            for name, one in sorted(found.items())
        ],
        ("principal", "active", "roles", "tenants", "skills", "tokens", "since"),
        as_json=as_json,
        none="no principal yet: `aios principal add NAME --role ROLE` makes one",
    )


@group.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def remove(name: str, as_json: bool) -> None:
    """Refuse NAME everywhere and forget its tokens. `aios principal add` brings it back."""
    with connected() as (settings, codec):
        if not principals.remove(settings.kafka, codec, name):
            fail(f"there is no principal {name}; `aios principal list` shows all", NOT_FOUND)
    if as_json:
        output.one({"principal": name, "active": False}, as_json=True)
        return
    click.echo(f"{name} may do nothing any more; what it did stays under its name")
