"""`aios schema check|release|list|show`: the contracts, and what was promised of them.

In: schemas/avro and, for release, the name of a contract. Out: one line `file: problem` for each mistake (exit 1), a
new released file, a table, or a contract. Needs no running system.
"""

from __future__ import annotations

import json

import click

from aios.infra.output import NOT_FOUND, fail, rows
from aios.schemas import contracts
from aios.schemas.errors import ContractError
from aios.schemas.models import EVENTS
from aios.schemas.release import Releases


@click.group("schema")
def group() -> None:
    """Contracts: check, release, list, show."""


@group.command()
def check() -> None:
    """Check every contract. Against all its releases (FULL_TRANSITIVE), for safety, and against its twin."""
    releases = Releases()
    found = releases.problems()
    for problem in found:
        click.echo(problem, err=True)
    if found:
        fail(f"{len(found)} problem{'s' if len(found) > 1 else ''}")
    released = sum(len(releases.versions(name)) for name in releases.names())
    click.echo(f"{len(releases.names())} contracts are sound against {released} releases")


@group.command()
@click.argument("name")
def release(name: str) -> None:
    """Promise contract NAME as it is now: write it as its next release."""
    _known(name)
    try:
        path = Releases().release(name)
    except ContractError as error:
        fail(str(error))
    click.echo(f"released {path}" if path else f"{name} has not changed since its last release")


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(as_json: bool) -> None:
    """Every contract, its releases, and whether it has changed."""
    releases = Releases()
    found = [
        {
            "contract": name,
            "released": len(releases.versions(name)),
            "changed": "yes" if releases.changed(name) else "",
            "fields": len(contracts.working(name).resolved["fields"]),
            "personal": sorted(contracts.personal_fields(name)),
            "what": contracts.working(name).resolved["doc"],
        }
        for name in sorted(EVENTS)
    ]
    columns = ["contract", "released", "changed", "fields", "personal"]
    rows(found, columns, as_json=as_json, none="there are no contracts")


@group.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The file itself.")
def show(name: str, as_json: bool) -> None:
    """A contract, field by field: NAME, or NAME@VERSION for a release."""
    contract, _, version = name.partition("@")
    _known(contract)
    try:
        text = Releases().text(contract, int(version) if version else None)
    except (KeyError, ValueError):
        numbers = ", ".join(map(str, Releases().versions(contract))) or "none"
        fail(f"{contract} has no release {version}; it has {numbers}", NOT_FOUND)
    if as_json:
        click.echo(text, nl=False)
        return
    record = json.loads(text)
    click.echo(f"{name}  {record['namespace']}.{record['name']}\n{record['doc']}\n")
    rows(
        [_row(one) for one in record["fields"]],
        ["field", "type", "default", "personal", "what"],
        as_json=False,
        none="",
    )


def _row(field: dict[str, object]) -> dict[str, object]:
    kind = field["type"]
    tags = field.get("confluent:tags", [])
    return {
        "field": field["name"],
        "type": kind if isinstance(kind, str) else json.dumps(kind),
        "default": json.dumps(field["default"]) if "default" in field else "(must be given)",
        "personal": "yes" if isinstance(tags, list) and contracts.PERSONAL in tags else "",
        "what": field.get("doc", ""),
    }


def _known(name: str) -> None:
    if name not in EVENTS:
        fail(f"there is no contract {name}; `aios schema list` lists them", NOT_FOUND)
