"""`aios list changes`: whom a version of a list changed, of the cases that were decided before it.

Enters: the audit chain's files; no running system is needed. Leaves: a row for each person of a decided case who came
near to an entry by that version, with the case that was raised for him, and for each who is near to one no more, whose
decision stands. Guaranteed: who was told several times, since a walk was repeated, stands there once.
"""

from __future__ import annotations

import json
import re
from typing import Any

import click

from aios.infra import output
from aios.infra.commands.operations import JSON
from aios.infra.output import USAGE, fail
from aios.infra.running import load_settings
from aios.processors.screening.rescreen import TRANSITION
from aios.sinks import audit_chain
from aios.sinks.audit import chain_folder
from aios.sinks.audit_chain import Line

NAMED = re.compile(r"^([a-z][a-z0-9_]{0,63})@([A-Za-z0-9][A-Za-z0-9._-]{0,63})$")
COLUMNS = ("case", "tenant", "outcome", "added", "gone", "raises")


@click.command()
@click.argument("named", metavar="LIST@VERSION")
@JSON
def changes(named: str, as_json: bool) -> None:
    """Whom of decided cases a version changed.

    added: entries that a person of the decided case came near to; raises: the key of the case that decides about it.
    gone: entries that nobody has to answer for any more; the decision stands until somebody takes the case up again.
    """
    if not NAMED.fullmatch(named):
        fail(f"{named[:80]!r}: LIST@VERSION, such as ofac_sdn@2024-05-03", USAGE)
    told = audit_chain.of_transition(chain_folder(load_settings().home), TRANSITION)
    found = {line.record["event"]["audit_id"]: row for line in told if (row := _row(line)) and row["list"] == named}
    output.rows(list(found.values()), COLUMNS, as_json=as_json, none=f"nobody was changed by {named}")


def _row(line: Line) -> dict[str, Any]:
    event = line.record["event"]
    detail = json.loads(event["detail"])
    return {
        "list": detail["list"],
        "case": event["case_id"],
        "tenant": event["tenant"],
        "outcome": detail.get("outcome", ""),
        "added": detail["added"],
        "gone": " ".join(detail.get("gone", ())),
        "raises": detail.get("raises", ""),
        "at": event["at"],
    }
