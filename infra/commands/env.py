"""`aios env`: where the running system is, as lines for a shell: `eval "$(aios env)"`.

Leaves KAFKA, REGISTRY, VALKEY, GATEWAY, OPERATIONS, KEY: the API key of this home's own tenant, and TOKEN: of its own
operator. The names have no AIOS_
before them, because every AIOS_ variable is a setting, and an unknown setting is refused.
"""

from __future__ import annotations

import shlex

import click

from aios.infra import output
from aios.infra.running import running
from aios.streams import credentials, principals, tenants


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def env(as_json: bool) -> None:
    """Addresses, the own tenant's key and the own operator's token, for a shell."""
    found = running()
    settings = found.settings
    said = {
        "KAFKA": settings.kafka.bootstrap_servers,
        "REGISTRY": settings.registry.url,
        "VALKEY": settings.redis.url,
        "GATEWAY": found.gateway,
        "OPERATIONS": found.operations,
        "KEY": tenants.kept_key(settings.home, settings.default_tenant),
        "TOKEN": credentials.kept(principals.token_file(settings.home, principals.OPERATOR)),
    }
    if as_json:
        output.one(said, as_json=True)
        return
    for name, value in said.items():
        click.echo(f"export {name}={shlex.quote(value)}")
