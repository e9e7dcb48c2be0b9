"""Who acts: the principal whose token a command was given, for commands that write to Kafka themselves.

Enters: a token (AIOS_TOKEN, a file, or this home's own) and the role that the act needs. Leaves: the principal's name.
Guaranteed: the name is the token's, never an argument; a token that is unknown, or whose principal may not, ends the
command with what to do.
"""

from __future__ import annotations

from pathlib import Path

from aios.infra import client
from aios.infra.output import FAILED, fail
from aios.schemas.codec import Codec
from aios.streams import principals
from aios.streams.config import Settings
from aios.streams.principals import PrincipalTable, Role


def acting(settings: Settings, codec: Codec, file: Path | None, role: Role, tenant: str = "") -> str:
    """The name of who acts; it has the role, and may act for the tenant (empty: for all, as what concerns everybody
    needs). Raises Unavailable. Ends the command for anybody else.
    """
    token = client.token(settings, file, role)
    table = PrincipalTable(settings.kafka, codec)
    try:
        table.load()
        found = table.by_token(token) if token else None
    finally:
        table.close()
    if found is None:
        fail(f"no valid token: `aios principal add NAME --role {role}` makes one; AIOS_TOKEN or --token-file gives it")
    if role not in found.roles:
        fail(f"{found.name} may not do this: it takes the role {role}", FAILED)
    if not principals.may(found, tenant):
        fail(f"{found.name} acts for some tenants only, and this concerns {tenant or 'all of them'}", FAILED)
    return found.name
