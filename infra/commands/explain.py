"""`aios case explain`: why a case came to its decision, in plain sentences and as data.

Enters: a case id; the outcome store of this system, or, with --audit, the hash-chained files alone, which need no
running system and hold cases that the store has forgotten. Leaves: the whole in a sentence, what it rests on, and the
story, each sentence with the number of its transition; the same as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from aios.infra import output
from aios.infra.commands.operations import JSON
from aios.infra.output import NOT_FOUND, NOT_RUNNING, USAGE, fail
from aios.infra.running import load_settings, running
from aios.sinks import audit_chain
from aios.sinks.audit import chain_folder
from aios.sinks.audit_chain import Line
from aios.streams import explanation, outcome_store
from aios.streams.errors import Unavailable
from aios.streams.explanation import Explanation
from aios.streams.outcome_store import OutcomeStore


@click.command("explain")
@click.argument("case")
@click.option("--audit", "by_chain", is_flag=True, help="From the audit chain's files alone; needs no running system.")
@JSON
def explain(case: str, by_chain: bool, as_json: bool) -> None:
    """Why CASE was decided so.

    Each answer, rule, threshold, policy, system and person, in sentences; --json: as data.
    """
    found = _by_chain(case) if by_chain else _by_store(case)
    if as_json:
        output.one(asdict(found), as_json=True)
        return
    click.echo(f"case {found.case_id}, {found.workflow or 'no workflow yet'}, {found.status}")
    for line in explanation.lines(found):
        output.text(line)


def _by_store(case: str) -> Explanation:
    async def question(store: OutcomeStore) -> Explanation | None:
        view = await store.status(case, None)
        return None if view is None else explanation.of_case(view, await store.timeline(case, None))

    try:
        found = outcome_store.ask(running().settings.redis.url, question)
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
    if found is None:
        fail(f"nobody has seen case {case} lately; older ones are in the audit chain: --audit", NOT_FOUND)
    return found


def _by_chain(case: str) -> Explanation:
    moves = [_move(line) for line in audit_chain.of_case(chain_folder(load_settings().home), case)]
    named = {move["case_id"] for move in moves}
    if not named:
        fail(f"the chain holds nothing of {case}", NOT_FOUND)
    if len(named) > 1:
        fail(f"{len(named)} ids begin with {case}: give more of it", USAGE)
    return explanation.explain(named.pop(), moves[0]["workflow"], moves)


def _move(line: Line) -> dict[str, Any]:
    """As timelines show it."""
    event = line.record["event"]
    places = (event["input_topic"], event["input_partition"], event["input_offset"])
    return {**event, "detail": json.loads(event["detail"] or "{}"), "input": "/".join(map(str, places))}
