"""`aios tenant add|key|list|deactivate`: tenants and their API keys.

Enters: a name. Leaves: tenant.registered.v1 (streams/tenants.py). A new key is printed once, on standard output alone;
the key of this home's own tenant is kept in home/run, readable by its owner, so that `aios tenant key` can say it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from aios.infra import output
from aios.infra.output import NOT_FOUND, fail
from aios.infra.running import load_settings, running
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams import credentials, tenants
from aios.streams.config import Settings


@click.group("tenant")
def group() -> None:
    """Tenants and their API keys."""


@group.command()
@click.argument("name")
@click.option("--only", is_flag=True, help="Its other keys stop being valid.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def add(name: str, only: bool, as_json: bool) -> None:
    """Make the tenant NAME, or one more key for it. The key is shown this once."""
    with connected() as (settings, codec):
        api_key = tenants.register(settings.kafka, codec, name, retire_others=only)
        if name == settings.default_tenant:
            tenants.keep_key(settings.home, name, api_key)
    if as_json:
        output.one({"tenant": name, "key": api_key}, as_json=True)
        return
    click.echo(f"{name}: this key is shown once, and {tenants.KEYS_MAX} are valid at most; keep it", err=True)
    click.echo(api_key)


@group.command()
@click.argument("name")
def key(name: str) -> None:
    """Print the kept key of NAME, and nothing else. Only this home's own tenant has one."""
    settings = load_settings()
    kept = tenants.kept_key(settings.home, name) if credentials.NAME.fullmatch(name) else ""
    if not kept:
        fail(
            f"no key of {name} is kept in {settings.home.absolute()}: keys are shown once, when they are made; "
            f"`aios tenant add {name}` makes another",
            NOT_FOUND,
        )
    click.echo(kept)


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(as_json: bool) -> None:
    """Every tenant, how many keys it has, and since when."""
    with connected() as (settings, codec):
        found = tenants.read(settings.kafka, codec)
    output.rows(
        [
            {
                "tenant": name,
                "active": one.active,
                "keys": len(one.key_hashes),
                "since": time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.registered_at / 1000)),
            }
            for name, one in sorted(found.items())
        ],
        ("tenant", "active", "keys", "since"),
        as_json=as_json,
        none="no tenant yet: `aios tenant add NAME` makes one",
    )


@group.command()
@click.argument("name")
def deactivate(name: str) -> None:
    """Refuse NAME everywhere and forget its keys. `aios tenant add` brings it back."""
    with connected() as (settings, codec):
        if not tenants.deactivate(settings.kafka, codec, name):
            fail(f"there is no tenant {name}; `aios tenant list` shows all", NOT_FOUND)
    click.echo(f"{name} is not active any more; its open cases still end")


@contextmanager
def connected() -> Iterator[tuple[Settings, Codec]]:
    """The running system's settings, and a codec over its registry."""
    settings = running().settings
    registry = RegistrySource(settings.registry.url)
    try:
        yield settings, Codec(registry)
    finally:
        registry.close()
