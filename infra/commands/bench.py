"""`aios bench`: every figure that is published comes from one of these."""

from __future__ import annotations

import importlib
from typing import ClassVar

import click


class Benches(click.Group):
    """Imports a benchmark only when it is asked for."""

    NAMES: ClassVar[tuple[str, ...]] = ("pipeline", "stage", "gateway", "engine", "idle", "scale", "all")

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.NAMES:
            return None
        module = "everything" if cmd_name == "all" else cmd_name
        command: click.Command = getattr(importlib.import_module(f"aios.infra.bench.{module}"), module)
        return command


@click.command(cls=Benches)
def group() -> None:
    """Measure; results with the machine's description under infra/bench/results."""
