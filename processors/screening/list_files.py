"""Lists as files: `lists/<list>@<version>.csv`, shipped, or a file that was published.

Enters: the bytes of a file. Leaves: entries, and what identifies them (name, version, sha256). Guaranteed: a file
with a missing column, a row with more fields than columns, an unknown type, a doubled number or more than ENTRIES_MAX
entries is refused whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from aios.processors.screening.entries import Entry, entry
from aios.streams.errors import ConfigError

FOLDER = Path(__file__).parent / "lists"
COLUMNS = ("ent_num", "name", "type", "program", "title", "remarks")
ENTRIES_MAX = 100_000
BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """One version of a list."""

    name: str
    version: str
    sha256: str
    entries: tuple[Entry, ...]

    @property
    def reference(self) -> str:
        """Name and version, as people write them."""
        return f"{self.name}@{self.version}"


def known() -> list[tuple[str, str]]:
    """Name and version of every list that is shipped, oldest version first."""
    found = (path.stem.partition("@") for path in sorted(FOLDER.glob("*@*.csv")))
    return [(name, version) for name, _, version in found]


def path_of(name: str, version: str) -> Path:
    """Where a shipped list lies. Raises ConfigError where there is none."""
    if (name, version) not in known():
        there = ", ".join(f"{each}@{dated}" for each, dated in known())
        raise ConfigError(f"no list {name}@{version} is shipped; there are: {there}")
    return FOLDER / f"{name}@{version}.csv"


def newest(name: str) -> str:
    """The newest shipped version. Raises ConfigError where there is none."""
    versions = [version for each, version in known() if each == name]
    if not versions:
        raise ConfigError(f"no list {name} is shipped; there are: {', '.join(sorted({each for each, _ in known()}))}")
    return versions[-1]


def shipped(name: str, version: str = "") -> Listed:
    """A list that came with the package; the newest version where none is named."""
    version = version or newest(name)
    return read(name, version, path_of(name, version).read_bytes())


def read(name: str, version: str, content: bytes) -> Listed:
    """What a file says. Raises ConfigError with the line that is wrong."""
    if len(content) > BYTES_MAX:
        raise ConfigError(f"list {name}@{version} has {len(content)} bytes; {BYTES_MAX} are allowed")
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise ConfigError(f"list {name}@{version} lacks the columns {', '.join(missing)}")
        entries: list[Entry] = []
        for row in rows:
            if len(entries) == ENTRIES_MAX:
                raise ConfigError(f"list {name}@{version} has more than {ENTRIES_MAX} entries")
            if any(row.get(None, ())):  # a comma without quotes: the rest of a name, or more names
                raise ConfigError(f"list {name}@{version}, line {rows.line_num}: more fields than columns")
            try:
                entries.append(entry({column: row[column] or "" for column in COLUMNS}))
            except ValueError as error:
                raise ConfigError(f"list {name}@{version}, line {rows.line_num}: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"list {name}@{version} cannot be read: {error}") from error
    doubled = [number for number, often in Counter(one.number for one in entries).items() if often > 1]
    if doubled or not entries:
        raise ConfigError(f"list {name}@{version}: {f'number {doubled[0]} twice' if doubled else 'no entries'}")
    return Listed(name, version, hashlib.sha256(content).hexdigest(), tuple(entries))
