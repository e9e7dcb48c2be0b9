"""`aios`: nouns and verbs. Each command is a module of infra/commands."""

from __future__ import annotations

import io
import sys

import click

from aios.infra.lazy import Lazy, Place
from aios.infra.output import FAILED, NOT_RUNNING
from aios.schemas.errors import AiosError, Unavailable

COMMANDS = {
    "up": Place("commands.up", "up", "Start the whole system on this machine."),
    "down": Place("commands.up", "down", "Stop it."),
    "status": Place("commands.up", "status", "What runs, and where."),
    "logs": Place("commands.up", "logs", "A stage's log."),
    "scale": Place("commands.up", "scale", "More or fewer processes of a stage, while it runs."),
    "doctor": Place("commands.doctor", "doctor", "Check versions, memory, disk and every reachable service."),
    "env": Place("commands.env", "env", "Addresses and the demo tenant's key, for a shell."),
    "publish": Place("commands.publish", "publish", "Publish the rows of a file as events."),
    "case": Place("commands.case", "group", "Cases: list, show, explain, find, tell, cancel."),
    "review": Place("commands.review", "group", "Questions to people: list, show, claim, release, decide, stats."),
    "dlq": Place("commands.dlq", "group", "Dead letters: groups, list, show, edit, approve, discard, restore, free."),
    "replay": Place(
        "commands.replay",
        "group",
        "Jobs that bring dead letters back: plan, approve, run, pause, resume, abort, status, list.",
    ),
    "breaker": Place("commands.breaker", "group", "What pauses by itself: list, close."),
    "audit": Place("commands.audit", "group", "The audit chain: verify, show."),
    "query": Place("commands.query", "query", "SQL over the lake."),
    "principal": Place("commands.principal", "group", "Who may operate the system, with which roles."),
    "budget": Place("commands.budget", "group", "What tenants may spend: set, lift, show."),
    "cost": Place("commands.cost", "group", "What was used, and what it cost: report."),
    "tenant": Place("commands.tenant", "group", "Tenants and their API keys."),
    "workflow": Place(
        "commands.workflow",
        "group",
        "Workflows: check, show, test, schema, list, diff, deploy, activate, autonomy, cancel, migrate.",
    ),
    "system": Place("commands.system", "group", "Outside systems: list, check."),
    "policy": Place("commands.policy", "group", "Guardrails: list, show, test, measure."),
    "list": Place(
        "commands.list", "group", "Lists that cases are screened against: show, publish, changes, search, evaluate."
    ),
    "slo": Place("commands.slo", "slo", "Objectives against the last hour, and why not."),
    "meeting": Place("commands.meeting", "group", "Requests for the calendar: read, evaluate."),
    "document": Place("commands.document", "group", "Documents: read, keep, sweep, evaluate."),
    "pools": Place("commands.pools", "pools", "Pools of model workers: work queued, rate, latency, cost."),
    "model": Place(
        "commands.model", "group", "Model versions: list, card, new, train, evaluate, activate, retire, watch."
    ),
    "prompt": Place("commands.prompt", "group", "Prompts: list, new, diff, test, activate, history, rollback."),
    "schema": Place("commands.schema", "group", "Contracts: check, release, list, show."),
    "topology": Place("commands.topology", "topology", "The graph of stages and topics."),
    "demo": Place("commands.demo", "demo", "Real data through a system of its own: triage, kyc, meeting."),
    "prove": Place(
        "commands.prove",
        "group",
        "Nothing lost, nothing twice: load, verify, matrix, planted, simulate, mutations, soak.",
    ),
    "bench": Place("commands.bench", "group", "Benchmarks; `aios bench` lists them."),
}


@click.group(cls=Lazy, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
def aios() -> None:
    """AIOS on Kafka: every business event becomes a case, every case ends in one decision.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such thing, 4 nothing runs here or it does not answer.
    """


def main() -> None:
    for words in (sys.stdout, sys.stderr):
        if isinstance(words, io.TextIOWrapper):  # what a terminal has no sign for is written as its number
            words.reconfigure(errors="backslashreplace")
    try:
        aios()
    except AiosError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(NOT_RUNNING if isinstance(error, Unavailable) else FAILED)
    except OSError as error:  # a folder that nobody may write to, a full disk
        click.echo(f"Error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", err=True)
        sys.exit(FAILED)
