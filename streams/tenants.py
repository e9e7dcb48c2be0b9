"""Tenants: who may have cases here, and which API keys are theirs.

Enters: a name and its acts (register, deactivate). Leaves: tenant.registered.v1, one compacted topic keyed by name,
and a table of it that follows along. Guaranteed: a key is seen once, by whoever asked for it; what is stored is its
SHA-256, so that neither the topic nor a copy of it lets anybody in. Several keys of a tenant are valid at once, so
that one can be replaced without a gap. A record that nobody can read is skipped and said so, never believed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aios.schemas.codec import Codec
from aios.schemas.models import TenantRegistered
from aios.streams import credentials, reference
from aios.streams.config import KafkaSettings
from aios.streams.credentials import NAME, digest
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.holders import HolderTable, looked_up, still_valid
from aios.streams.topics import TENANT_REGISTERED
from aios.streams.wall_clock import wall_ms

KEYS_MAX = credentials.VALID_MAX
WRITES_MAX = 3  # of one change, when others change the same tenant at the same moment


def register(kafka: KafkaSettings, codec: Codec, name: str, *, retire_others: bool = False) -> str:
    """Make a tenant, or one more key for it, and return that key: the only time it can be seen.

    retire_others: its other keys stop being valid; those of an inactive tenant always do.
    Raises ConfigError for a name that is none, Unavailable when Kafka or the registry does not answer.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"tenant {name[:64]!r}: a name is 1 to 63 of a-z, 0-9 and '-'")
    api_key = credentials.make()
    hashed = digest(api_key)
    for _ in range(WRITES_MAX):
        before, met = looked_up(TenantTable(kafka, codec, watched=hashed), name)
        keys = before.key_hashes if before is not None and before.active else ()
        if hashed in keys:
            valid = still_valid(keys, hashed, was_active=met is None or met.active)
            if valid == keys:
                return api_key
            keys = valid
        else:
            keys = ((*keys, hashed) if not retire_others else (hashed,))[-KEYS_MAX:]
        _write(
            kafka,
            codec,
            TenantRegistered(
                tenant=name,
                key_hashes=keys,
                active=True,
                registered_at=before.registered_at if before is not None else wall_ms(),
            ),
        )
    after = read(kafka, codec).get(name)
    if after is None or hashed not in after.key_hashes:
        raise Unavailable(f"tenant {name} is changed by others at this moment; try again")
    return api_key


def deactivate(kafka: KafkaSettings, codec: Codec, name: str) -> bool:
    """Refuse a tenant everywhere from now on, and forget its keys. False if there is none of that name."""
    before = read(kafka, codec).get(name)
    if before is None:
        return False
    _write(kafka, codec, replace(before, active=False, key_hashes=()))
    return True


def read(kafka: KafkaSettings, codec: Codec) -> dict[str, TenantRegistered]:
    """All tenants as they are now. Raises Unavailable."""
    table = TenantTable(kafka, codec)
    try:
        table.load()
        return table.all()
    finally:
        table.close()


def key_file(home: Path, name: str) -> Path:
    """Where the key of a home's own tenant is kept, for the commands of the person whose home it is."""
    return home / "run" / f"{name}.key"


def kept_key(home: Path, name: str) -> str:
    """The key kept there, empty if none."""
    return credentials.kept(key_file(home, name))


def keep_key(home: Path, name: str, api_key: str) -> None:
    """Keep it for its owner alone (mode 600), instead of the one before."""
    credentials.keep(key_file(home, name), api_key)


def own_key(home: Path, kafka: KafkaSettings, codec: Codec, name: str) -> str:
    """The home's key of this tenant, as kept; made and kept when there is none that is valid."""
    kept = kept_key(home, name)
    found = read(kafka, codec).get(name)
    if kept and found is not None and found.active and digest(kept) in found.key_hashes:
        return kept
    api_key = register(kafka, codec, name)
    keep_key(home, name, api_key)
    return api_key


class TenantTable(HolderTable[TenantRegistered]):
    """Tenants by name and by key."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, *, watched: str = "") -> None:
        super().__init__(
            kafka,
            codec,
            TENANT_REGISTERED,
            TenantRegistered,
            name_of=lambda tenant: tenant.tenant,
            hashes_of=lambda tenant: tenant.key_hashes if tenant.active else (),
            watched=watched,
        )

    def by_key(self, api_key: str) -> TenantRegistered | None:
        """The active tenant whose key this is."""
        return self.by_secret(api_key)


def _write(kafka: KafkaSettings, codec: Codec, tenant: TenantRegistered) -> None:
    seed = "/".join(tenant.key_hashes)
    why = reference.Why(
        by=reference.ADMINISTRATOR,
        transition="tenant_registered" if tenant.active else "tenant_deactivated",
        detail={"keys": len(tenant.key_hashes)},
    )
    name = tenant.tenant
    reference.write(kafka, codec, TENANT_REGISTERED, tenant, name=name, tenant=name, seed=seed, why=why)
