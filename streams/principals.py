"""Principals: persons and programs that may operate the system, what they may do, and which tokens are theirs.

Enters: a name and its acts (register, remove). Leaves: principal.registered.v1, one compacted topic keyed by name, and
a table of it that follows along. Guaranteed: a token is seen once, by whoever asked for it; what is stored is its
SHA-256. The name in a record that says who did something is the one its token belongs to, never an argument. Several
tokens of a principal are valid at once, so that one can be replaced without a gap. A removed one is refused everywhere
within POLL_S of streams/reference.py, and its name stays taken, because audit records bear it.

    operator   repairs, discards and restores dead letters, plans and runs replay jobs, closes breakers
    approver   approves what somebody else repaired or planned, frees from quarantine
    reviewer   answers the questions that cases ask people
    analyst    reads dead letters, jobs and breakers, as every other role does

A question that names a skill (`skills` of a workflow's `review`) is answered by a reviewer who has it.

Rejected: roles in the token (what a principal may do today is what counts, not what it was allowed once).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from aios.schemas.codec import Codec
from aios.schemas.models import PrincipalRegistered
from aios.streams import credentials, reference
from aios.streams.config import KafkaSettings
from aios.streams.credentials import NAME, digest
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.holders import HolderTable, looked_up, still_valid
from aios.streams.topics import PRINCIPAL_REGISTERED
from aios.streams.wall_clock import wall_ms

TOKENS_MAX = credentials.VALID_MAX
TENANTS_MAX = 100  # of one principal; more are all
SKILLS_MAX = 100  # of one principal
EVERY_SKILL = "*"
WRITES_MAX = 3  # of one change, when others change the same principal at the same moment


class Role(StrEnum):
    """Every role, closed."""

    OPERATOR = "operator"
    APPROVER = "approver"
    REVIEWER = "reviewer"
    ANALYST = "analyst"


OPERATOR, APPROVER = "operator", "approver"
OWN = {OPERATOR: (Role.OPERATOR, Role.REVIEWER, Role.ANALYST), APPROVER: (Role.APPROVER,)}
"""The principals of a home, which `aios up` makes: two, so that what needs two of them can be done on one machine. They
have every skill.
"""

_SKILL = re.compile(r"[a-z][a-z0-9_]{0,63}")  # as a workflow names it


def register(
    kafka: KafkaSettings,
    codec: Codec,
    name: str,
    *,
    roles: Iterable[str] = (),
    tenants: Sequence[str] | None = None,
    skills: Sequence[str] | None = None,
    retire_others: bool = False,
) -> str:
    """Make a principal, or one more token for it, and return that token: the only time it can be seen.

    roles: what it may do from now on; none: what it may already. tenants: it may act for; () is all, None is as it is.
    skills: it has, EVERY_SKILL for all there are; () is none, None is as it is.
    retire_others: its other tokens stop being valid; those of a removed one always do.
    Raises ConfigError for what is no name, role, tenant or skill; Unavailable when Kafka or the registry does not
    answer.
    """
    wanted = _checked(name, roles, tenants, skills)
    token = credentials.make()
    hashed = digest(token)
    for _ in range(WRITES_MAX):
        before, met = looked_up(PrincipalTable(kafka, codec, watched=hashed), name)
        known = before if before is not None and before.active else None
        tokens = known.token_hashes if known is not None else ()
        if hashed in tokens:
            valid = still_valid(tokens, hashed, was_active=met is None or met.active)
            if valid == tokens:
                return token
            known, tokens = None, valid
            if not wanted:
                remove(kafka, codec, name)
        else:
            tokens = ((*tokens, hashed) if not retire_others else (hashed,))[-TOKENS_MAX:]
        if not wanted and known is None:
            raise ConfigError(f"principal {name}: give at least one role of {', '.join(Role)}")
        _write(
            kafka,
            codec,
            PrincipalRegistered(
                name=name,
                roles=wanted or (known.roles if known is not None else ()),
                tenants=_set(tenants, known.tenants if known else ()),
                skills=_set(skills, known.skills if known else ()),
                token_hashes=tokens,
                active=True,
                registered_at=before.registered_at if before is not None else wall_ms(),
            ),
        )
    after = read(kafka, codec).get(name)
    if after is None or hashed not in after.token_hashes:
        raise Unavailable(f"principal {name} is changed by others at this moment; try again")
    return token


def _set(given: Sequence[str] | None, before: tuple[str, ...]) -> tuple[str, ...]:
    return before if given is None else tuple(sorted(set(given)))


def _checked(
    name: str, roles: Iterable[str], tenants: Sequence[str] | None, skills: Sequence[str] | None
) -> tuple[str, ...]:
    """The roles, once each and in one order. Raises ConfigError."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"principal {name[:64]!r}: a name is 1 to 63 of a-z, 0-9 and '-'")
    given = set(roles)
    if unknown := sorted(given - set(Role)):
        raise ConfigError(f"{unknown[0][:64]!r} is no role; there are {', '.join(Role)}")
    for tenant in tenants or ():
        if not NAME.fullmatch(tenant):
            raise ConfigError(f"tenant {tenant[:64]!r}: a name is 1 to 63 of a-z, 0-9 and '-'")
    if len(tenants or ()) > TENANTS_MAX:
        raise ConfigError(f"a principal acts for {TENANTS_MAX} tenants at most, or for all: give none")
    for skill in skills or ():
        if skill != EVERY_SKILL and not _SKILL.fullmatch(skill):
            raise ConfigError(f"skill {skill[:64]!r}: 1 to 64 of a-z, 0-9, '_', a letter first; or '*' for every one")
    if len(skills or ()) > SKILLS_MAX:
        raise ConfigError(f"a principal has {SKILLS_MAX} skills at most, or every one: give '*'")
    return tuple(str(role) for role in Role if role in given)


def remove(kafka: KafkaSettings, codec: Codec, name: str) -> bool:
    """Refuse a principal everywhere from now on, and forget its tokens. False if there is none of that name."""
    before = read(kafka, codec).get(name)
    if before is None or not before.active:
        return False
    _write(kafka, codec, replace(before, active=False, token_hashes=()))
    return True


def read(kafka: KafkaSettings, codec: Codec) -> dict[str, PrincipalRegistered]:
    """All principals as they are now. Raises Unavailable."""
    table = PrincipalTable(kafka, codec)
    try:
        table.load()
        return table.all()
    finally:
        table.close()


def token_file(home: Path, name: str) -> Path:
    """Where the token of a home's own principal is kept, for the commands of the person whose home it is."""
    return home / "run" / f"{name}.token"


def own_tokens(home: Path, kafka: KafkaSettings, codec: Codec) -> None:
    """See that each of OWN is registered and its valid token kept in the home."""
    registered = read(kafka, codec)
    for name, roles in OWN.items():
        kept, found = credentials.kept(token_file(home, name)), registered.get(name)
        known = found if found is not None and found.active else None
        if not (kept and known and digest(kept) in known.token_hashes and EVERY_SKILL in known.skills):
            token = register(kafka, codec, name, roles=() if known else roles, skills=(EVERY_SKILL,))
            credentials.keep(token_file(home, name), token)


def may(principal: PrincipalRegistered, tenant: str) -> bool:
    """Whether it may act for this tenant; for what belongs to nobody, only whoever acts for all."""
    return not principal.tenants or tenant in principal.tenants


def can(principal: PrincipalRegistered, skill: str) -> bool:
    """Whether it has what a question asks for; empty: nothing special."""
    return not skill or skill in principal.skills or EVERY_SKILL in principal.skills


class PrincipalTable(HolderTable[PrincipalRegistered]):
    """Principals by name and by token."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, *, watched: str = "") -> None:
        super().__init__(
            kafka,
            codec,
            PRINCIPAL_REGISTERED,
            PrincipalRegistered,
            name_of=lambda principal: principal.name,
            hashes_of=lambda principal: principal.token_hashes if principal.active else (),
            watched=watched,
        )

    def by_token(self, token: str) -> PrincipalRegistered | None:
        """The active principal whose token this is."""
        return self.by_secret(token)


def _write(kafka: KafkaSettings, codec: Codec, principal: PrincipalRegistered) -> None:
    seed = "/".join((*principal.roles, *principal.skills, *principal.token_hashes))
    why = reference.Why(
        by=reference.ADMINISTRATOR,
        transition="principal_registered" if principal.active else "principal_removed",
        detail={
            "roles": list(principal.roles),
            "tenants": list(principal.tenants),
            "skills": list(principal.skills),
            "tokens": len(principal.token_hashes),
        },
    )
    reference.write(kafka, codec, PRINCIPAL_REGISTERED, principal, name=principal.name, tenant="", seed=seed, why=why)
