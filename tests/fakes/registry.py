"""A registry in memory: the SchemaSource of unit tests.

tests/contract/test_registry_source.py runs the same tests on it and on the real one.
"""

from __future__ import annotations

import json

from aios.schemas.errors import Reason, SchemaMismatch, Unavailable


class FakeRegistry:
    """Registers whatever it is asked for. away: every call raises Unavailable."""

    def __init__(self) -> None:
        self.away = False
        self.calls = 0
        self._texts: dict[int, str] = {}
        self._ids: dict[str, int] = {}

    def by_id(self, schema_id: int) -> str:
        self._answer()
        if schema_id not in self._texts:
            raise SchemaMismatch(f"the registry does not know schema {schema_id}", Reason.UNKNOWN_SCHEMA)
        return self._texts[schema_id]

    def id_of(self, subject: str, schema: str) -> int:
        """Same text, same id, whatever the subject."""
        self._answer()
        return self.add(schema)

    def add(self, schema: str | dict[str, object]) -> int:
        """Put any schema there, unchecked, and return its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        schema_id = self._ids.setdefault(text, len(self._ids) + 1)
        self._texts[schema_id] = text
        return schema_id

    def _answer(self) -> None:
        self.calls += 1
        if self.away:
            raise Unavailable("the fake registry is away")
