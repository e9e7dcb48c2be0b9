"""`aios`: nouns and verbs. Each command is a module of infra/commands, loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import ClassVar

import click

from aios.infra.output import FAILED
from aios.schemas.errors import AiosError


class Lazy(click.Group):
    """Imports a command's module only when it is used: `aios --help` stays quick."""

    HELP: ClassVar[dict[str, tuple[str, str, str]]] = {
        # name: (module in infra/commands, attribute, one line)
        "up": ("up", "up", "Start the whole system on this machine."),
        "down": ("up", "down", "Stop it."),
        "status": ("up", "status", "What runs, and where."),
        "logs": ("up", "logs", "A stage's log."),
        "scale": ("up", "scale", "More or fewer processes of a stage, while it runs."),
        "doctor": ("doctor", "doctor", "Check versions, memory, disk and every reachable service."),
        "env": ("env", "env", "Addresses and the demo tenant's key, for a shell."),
        "publish": ("publish", "publish", "Publish the rows of a file as events."),
        "case": ("case", "group", "Cases: list, show, find."),
        "review": ("review", "group", "Questions to people: list, show, decide."),
        "dlq": ("dlq", "group", "Dead letters: groups, list, show, replay."),
        "audit": ("audit", "group", "The audit chain: verify, show."),
        "query": ("query", "query", "SQL over the lake."),
        "tenant": ("tenant", "group", "Tenants and their API keys."),
        "workflow": ("workflow", "group", "Validate and draw workflows."),
        "model": ("model", "group", "Model versions: train, evaluate, card."),
        "schema": ("schema", "group", "Contracts: check, release, list, show."),
        "topology": ("topology", "topology", "The graph of stages and topics."),
        "demo": ("demo", "demo", "Two hundred real texts through the whole system."),
        "bench": ("bench", "group", "Measure: pipeline, stage, gateway, scale, idle."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.HELP)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.HELP:
            return None
        module, attribute, _ = self.HELP[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"aios.infra.commands.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.HELP.items()])


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def aios() -> None:
    """AIOS on Kafka: every business event becomes a case, every case ends in one decision.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such thing, 4 nothing runs here or it does not answer.
    """


def main() -> None:
    try:
        aios()
    except AiosError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(FAILED)
