"""SQL over the lake: a view a table, in DuckDB, read only.

Enters: the lake's folder and one statement. Leaves: columns and rows. Guaranteed: every table has its view from the
beginning, empty with its types while there are no files; a row of a topic, partition and offset is shown once; only
SELECT (and EXPLAIN) run, and they reach no other file and no network.
Rejected: a DuckDB database file (readers would lock each other out, and it would lag behind the files).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from aios.schemas.errors import AiosError
from aios.sinks import lake_files
from aios.sinks.lake_files import LakeFile
from aios.sinks.lake_tables import Table, is_dead_letter, tables

MEMORY_MAX = "1GB"
ROWS_MAX = 100_000
QUERIES = Path(__file__).parent / "queries"
TRIES_MAX = 3  # a file that is being written again may vanish under a query
ALL_DEAD = "dead_letters"  # of every group whose the lake reads, in one view
_CONFIG = {"memory_limit": MEMORY_MAX, "autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_ALLOWED = frozenset({"SELECT", "EXPLAIN"})


class QueryRefused(AiosError):
    """The statement is wrong or not allowed; the message is for its author."""


@dataclass(frozen=True, slots=True)
class Answer:
    """columns: each of a name of its own. cut: there were more than rows_max."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cut: bool

    def plain(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@cache
def shipped() -> dict[str, tuple[str, str]]:
    """Name → (what it answers, SQL)."""
    found = {}
    for path in sorted(QUERIES.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        found[path.stem] = (text.splitlines()[0].removeprefix("-- "), text)
    return found


def ask(lake: Path, sql: str, *, rows_max: int = ROWS_MAX) -> Answer:
    """Run one SELECT. Raises QueryRefused."""
    for left in reversed(range(TRIES_MAX)):
        try:
            return _ask(lake, sql, rows_max)
        except duckdb.IOException as error:
            if not left:
                raise QueryRefused(f"the lake cannot be read: {_first_line(error)}") from error
        except duckdb.Error as error:
            raise QueryRefused(_first_line(error)) from error
    raise AssertionError


def views(lake: Path) -> list[dict[str, Any]]:
    """Every view with its columns and files, the one of all dead letters last."""
    found: list[dict[str, Any]] = [
        {
            "view": table.view,
            "topic": table.name,
            "files": len(list((lake / table.name).glob("date=*/*.parquet"))),
            "columns": list(table.schema.names),
        }
        for table in tables(personal=False).values()
    ]
    dead = [one for one in found if is_dead_letter(one["topic"])]
    return [*found, dead[0] | {"view": ALL_DEAD, "topic": "", "files": sum(one["files"] for one in dead)}]


def _ask(lake: Path, sql: str, rows_max: int) -> Answer:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1 or statements[0].type.name not in _ALLOWED:
        raise QueryRefused("one SELECT, please: the lake is only read here")
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        for statement in _setup(lake.absolute()):
            connection.execute(statement)
        result = connection.execute(statements[0])
        rows = result.fetchmany(rows_max + 1)
        columns = _distinct([column[0] for column in result.description or ()])
        return Answer(columns, rows[:rows_max], len(rows) > rows_max)


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """A row is told by its columns' names: of several that are called alike, as in a join, later ones are numbered."""
    found: list[str] = []
    for name in names:
        own, number = name, 1
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return tuple(found)


def _setup(lake: Path) -> Iterator[str]:
    known = tables(personal=False)
    yield from (_view(lake, table) for table in known.values())
    dead = [table.view for table in known.values() if is_dead_letter(table.name)]
    yield f"create view {ALL_DEAD} as {' union all by name '.join(f'from {view}' for view in dead)}"
    yield f"set allowed_directories = [{quoted(f'{lake}/')}]"
    yield "set enable_external_access = false"
    yield "set lock_configuration = true"


def _view(lake: Path, table: Table) -> str:
    """Typed and empty, then the files, each record once."""
    empty = ", ".join(f'null::{_SQL[str(kind)]} as "{name}"' for name, kind in zip(*_columns(table), strict=True))
    parts = [f"(select {empty} limit 0)"]
    found = sorted((lake / table.name).glob("date=*/*.parquet"))
    if found:
        paths = ", ".join(quoted(str(path)) for path in found)
        files = f"from read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"
        if _may_repeat(filter(None, map(lake_files.parse, found))):
            files += " qualify row_number() over (partition by kafka_topic, kafka_partition, kafka_offset) = 1"
        parts.append(f"({files})")
    return f'create view "{table.view}" as {" union all by name ".join(parts)}'


def _may_repeat(found: Iterable[LakeFile]) -> bool:
    """Whether any two files of a partition overlap by their names."""
    ordered = sorted(found, key=lambda one: (one.topic, one.partition, one.first))
    return any(
        (one.topic, one.partition) == (after.topic, after.partition) and after.first <= one.last
        for one, after in pairwise(ordered)
    )


def _columns(table: Table) -> tuple[Sequence[str], Sequence[Any]]:
    return table.schema.names, table.schema.types


_SQL = {
    "string": "varchar",
    "int32": "integer",
    "int64": "bigint",
    "double": "double",
    "bool": "boolean",
    "timestamp[ms]": "timestamp",
    "list<item: string>": "varchar[]",
    "list<element: string>": "varchar[]",
}


def quoted(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    """Without the picture of where in the statement it is."""
    return str(error).split("\n\n")[0].replace("\n", " ")
