"""`aios env`: where the running system is, as lines for a shell: `eval "$(aios env)"`.

Leaves KAFKA, REGISTRY, VALKEY, GATEWAY, and KEY: the API key of this home's own tenant. The names have no AIOS_
before them, because every AIOS_ variable is a setting, and an unknown setting is refused.
"""

from __future__ import annotations

import shlex

import click

from aios.infra import output
from aios.infra.running import running
from aios.streams import tenants


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def env(as_json: bool) -> None:
    """Addresses and the demo tenant's key, for a shell."""
    found = running()
    settings = found.settings
    said = {
        "KAFKA": settings.kafka.bootstrap_servers,
        "REGISTRY": settings.registry.url,
        "VALKEY": settings.redis.url,
        "GATEWAY": found.gateway,
        "KEY": tenants.kept_key(settings.home, settings.default_tenant),
    }
    if as_json:
        output.one(said, as_json=True)
        return
    for name, value in said.items():
        click.echo(f"export {name}={shlex.quote(value)}")
