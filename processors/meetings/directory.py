"""The directory of a company: who people are, where their clocks stand, when they work, and which rooms there are.

Enters: a YAML file; names as people say them. Leaves: Persons and Rooms without engagements; for a name that is nobody,
or more than one, who might be meant. Guaranteed: strictly read (an unknown key, zone, weekday or doubled id is refused
with its name); the same words give the same people, in the order in which they were said.
Rejected: guessing between two Anas; people outside the directory (nothing is known of their time).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aios.processors.meetings import zones
from aios.processors.meetings.party import OFFICE, Person, Role, Room, Week, Window
from aios.streams.errors import ConfigError

FILE_BYTES_MAX = 4 << 20
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Path_ = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,200}$")]
EVERYBODY = frozenset({"everybody", "everyone", "all employees", "the whole company"})
MINE = frozenset({"my team", "the team", "our team", "team"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Weekly(_Part):
    """Windows by weekday, as `09:00-12:30`; several apart by a comma."""

    mon: str = ""
    tue: str = ""
    wed: str = ""
    thu: str = ""
    fri: str = ""
    sat: str = ""
    sun: str = ""

    @field_validator("*")
    @classmethod
    def _readable(cls, value: str) -> str:
        _windows(value)
        return value

    @property
    def week(self) -> Week:
        found = {number: _windows(getattr(self, name)) for number, name in enumerate(WEEKDAYS)}
        return {number: windows for number, windows in found.items() if windows}


class _Zoned(_Part):
    zone: str

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            zones.zone(value)
        except zones.UnknownZone as error:
            raise ValueError(str(error)) from error
        return value


class _Person(_Zoned):
    id: Id
    name: Annotated[str, Field(min_length=1, max_length=100)]
    also: tuple[str, ...] = ()
    address: str = ""
    site: str = ""
    hours: _Weekly | None = None
    focus: _Weekly = _Weekly()
    calendar: Path_


class _Room(_Zoned):
    id: Id
    name: Annotated[str, Field(min_length=1, max_length=100)]
    site: str
    seats: Annotated[int, Field(ge=1, le=10_000)]
    equipment: tuple[str, ...] = ()
    calendar: Path_


class _Team(_Part):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    members: Annotated[tuple[Id, ...], Field(min_length=1)]


class _File(_Part):
    people: Annotated[tuple[_Person, ...], Field(min_length=1, max_length=10_000)]
    teams: tuple[_Team, ...] = ()
    rooms: tuple[_Room, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> _File:
        ids = [*(one.id for one in self.people), *(one.id for one in self.rooms)]
        if doubled := sorted(one for one, number in Counter(ids).items() if number > 1):
            raise ValueError(f"more than one {', '.join(doubled)}")
        known = {one.id for one in self.people}
        for team in self.teams:
            if missing := sorted(set(team.members) - known):
                raise ValueError(f"the team {team.name} has members that are nobody: {', '.join(missing)}")
        return self


@dataclass(frozen=True, slots=True)
class Unclear:
    """A name that is nobody, or more than one. might_be: names, empty if nobody comes near."""

    said: str
    might_be: tuple[str, ...]


@dataclass(frozen=True)
class Directory:
    """See the module."""

    people: Mapping[str, Person]
    rooms: tuple[Room, ...]
    teams: Mapping[str, tuple[str, ...]]
    names: Mapping[str, tuple[str, ...]]
    surnames: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def addresses(self) -> Mapping[str, str]:
        """By address: id."""
        return {one.address.lower(): one.id for one in self.people.values() if one.address}

    def organiser(self, said: str) -> Person | None:
        """By id, address or full name."""
        found = self.people.get(said.lower()) or self.people.get(self.addresses.get(said.lower(), ""))
        if found is None:
            ids = self.names.get(_plain(said), ())
            found = self.people[ids[0]] if len(ids) == 1 else None
        return None if found is None else replace(found, role=Role.ORGANISER)

    def resolve(self, said: Iterable[str], organiser: Person) -> tuple[tuple[Person, ...], tuple[Unclear, ...]]:
        """Who takes part beside the organiser, and which names are not clear."""
        found: dict[str, Person] = {}
        unclear = []
        for name in said:
            ids = self.ids(name, organiser)
            if isinstance(ids, Unclear):
                unclear.append(ids)
                continue
            for one in ids:
                if one != organiser.id:
                    found[one] = self.people[one]
        return tuple(found.values()), tuple(unclear)

    def ids(self, said: str, organiser: Person) -> tuple[str, ...] | Unclear:
        """Of one name or team."""
        plain = _plain(said)
        if plain in EVERYBODY:
            return tuple(self.people)
        if plain in MINE:
            mine = [members for members in self.teams.values() if organiser.id in members]
            return mine[0] if len(mine) == 1 else Unclear(said, tuple(sorted(self.teams)))
        team = self.teams.get(plain) or self.teams.get(plain.removeprefix("the ").removesuffix(" team"))
        if team:
            return team
        ids = (
            self.names.get(plain)
            or self.surnames.get(plain)
            or ((said.lower(),) if said.lower() in self.people else ())
        )
        if len(ids) == 1:
            return ids
        return Unclear(said, tuple(self.people[one].name for one in ids))

    def people_in(self, title: str) -> tuple[str, ...]:
        """The names that a title is made of; empty: it says anything else."""
        said = tuple(filter(None, re.split(r"(?:,| and\b| &)\s*", title)))
        return said if all(_plain(name) in self.names for name in said) else ()

    def at_site(self, site: str, *, seats: int, needs: frozenset[str]) -> tuple[Room, ...]:
        """Rooms that would do, the smallest first."""
        fits = [room for room in self.rooms if room.site == site and room.seats >= seats and needs <= room.equipment]
        return tuple(sorted(fits, key=lambda room: (room.seats, room.id)))

    def room(self, said: str) -> Room | None:
        """By id or name, with or without "room"."""
        plain = _plain(said)
        short = plain.removeprefix("the ").removeprefix("room ").removesuffix(" room")
        return next((room for room in self.rooms if short in (room.id, _plain(room.name))), None)


def load(path: Path) -> Directory:
    """Raises ConfigError naming the file and what is wrong with it."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path} has more than {FILE_BYTES_MAX} bytes")
        return read(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValidationError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from error


def read(data: Any) -> Directory:
    """Raises ValidationError."""
    file = _File.model_validate(data)
    names: dict[str, list[str]] = {}
    surnames: dict[str, list[str]] = {}
    for one in file.people:
        said = _plain(one.name).split()
        for name in {" ".join(said), *said[:1], *map(_plain, one.also)}:
            names.setdefault(name, []).append(one.id)
        if len(said) > 1:
            surnames.setdefault(said[-1], []).append(one.id)
    return Directory(
        people={one.id: _person(one) for one in file.people},
        rooms=tuple(_room(one) for one in file.rooms),
        teams={_plain(one.name).removesuffix(" team"): one.members for one in file.teams},
        names={name: tuple(ids) for name, ids in names.items()},
        surnames={name: tuple(ids) for name, ids in surnames.items()},
    )


def _person(one: _Person) -> Person:
    return Person(
        id=one.id,
        name=one.name,
        address=one.address,
        zone=zones.zone(one.zone),
        hours=OFFICE if one.hours is None else one.hours.week,
        focus=one.focus.week,
        site=one.site,
        calendar=one.calendar,
    )


def _room(one: _Room) -> Room:
    return Room(
        id=one.id,
        name=one.name,
        site=one.site,
        seats=one.seats,
        zone=zones.zone(one.zone),
        equipment=frozenset(map(_plain, one.equipment)),
        calendar=one.calendar,
    )


def _windows(said: str) -> tuple[Window, ...]:
    """Raises ValueError."""
    return tuple(_window(part.strip()) for part in said.split(",") if part.strip())


def _window(said: str) -> Window:
    found = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", said)
    if found is None:
        raise ValueError(f"{said!r} is no window of a day, such as 09:00-17:00")
    begin, end = time.fromisoformat(found[1]), None if found[2] == "24:00" else time.fromisoformat(found[2])
    if end is not None and end <= begin:
        raise ValueError(f"{said!r} ends before it begins: a night is two windows, of two days")
    return begin, end


def _plain(said: str) -> str:
    return " ".join(unicodedata.normalize("NFC", said).lower().replace(".", " ").split())
