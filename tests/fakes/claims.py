"""A workflow of a domain team, as files of an empty folder: small claims are paid, a person is asked about others."""

from __future__ import annotations

import json
from pathlib import Path

WORKFLOW = """\
workflow: {name}
version: 1
owner: finance
cost_centre: CC-7
signed_off: {{by: Head of Finance, on: 2026-11-20}}
about: Pay small claims at once, ask a person about the others.
input: {contract}
objectives: {{interactive_p95_s: 2, bulk_p95_s: 60, without_person_min: 0.5}}
autonomy: {{mode: auto, ask: ask}}
policy: {{alone_max_cents: 10000}}
labels: {{answers: [pay, refuse]}}
samples:
  - {{employee: Ann, purpose: train, receipts: [{{what: ticket, cents: 4200}}]}}
  - {{employee: Ann, purpose: hotel, receipts: [{{what: hotel, cents: 42000}}]}}
start: weigh
steps:
  weigh:
    rule:
      first_of:
        - {{when: "size(input.receipts) == 0", reason: no_receipt, then: ask}}
        - {{when: "input.receipts.exists(one, one.cents > policy.alone_max_cents)", reason: too_much, then: ask}}
      otherwise: {{then: pay}}
  ask:
    review:
      status: asking
      suggestion: "'pay'"
      confidence: "0.5"
      out_of_scope: "0.0"
      choices: labels.answers
      expires_h: 24
      then: said
      on_expiry: {{reason: nobody_in_time, then: late}}
  said:
    rule:
      first_of:
        - {{when: "answers.ask.label == 'pay'", then: paid_by_person}}
      otherwise: {{reason: refused_by_person, then: refused}}
  pay: {{emit: {{status: decided, outcome: paid, decided_by: "'policy'", output: {{to: input.employee}}}}}}
  paid_by_person: {{emit: {{status: decided, outcome: paid, decided_by: "'reviewer:' + answers.ask.reviewer"}}}}
  refused: {{emit: {{status: decided, outcome: refused, decided_by: "'reviewer:' + answers.ask.reviewer"}}}}
  late: {{emit: {{status: expired, outcome: expired, decided_by: "'timer'"}}}}
"""

CASES = """\
cases:
  - name: a small claim is paid at once
    input: {employee: Ann, purpose: train, receipts: [{what: ticket, cents: 4200}]}
    expect: {outcome: paid, decided_by: policy, reasons: [], output: {to: Ann}}
  - name: without a receipt a person is asked, and pays
    input: {employee: Bob, purpose: taxi, receipts: []}
    given: {ask: {label: pay, reviewer: ada}}
    expect: {outcome: paid, decided_by: "reviewer:ada", reasons: [no_receipt]}
  - name: too much is refused by a person
    input: {employee: Bob, purpose: yacht, receipts: [{what: yacht, cents: 99999999}]}
    given: {ask: {label: refuse, reviewer: ada}}
    expect: {outcome: refused, reasons: [too_much, refused_by_person]}
  - name: nobody answers
    input: {employee: Bob, purpose: yacht, receipts: []}
    expect: {outcome: expired, reasons: [no_receipt, nobody_in_time]}
  - name: it waits for a person
    input: {employee: Bob, purpose: yacht, receipts: []}
    expect: {waits_in: ask}
"""

CONTRACT = {
    "type": "record",
    "name": "ExpenseClaimed",
    "namespace": "acme.expenses",
    "doc": "An employee wants money back.",
    "fields": [
        {"name": "employee", "type": "string", "doc": "Who.", "aios:max": 100, "confluent:tags": ["PII"]},
        {"name": "purpose", "type": "string", "doc": "What for.", "aios:max": 500},
        {
            "name": "receipts",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Receipt",
                    "fields": [
                        {"name": "what", "type": "string", "default": ""},
                        {"name": "cents", "type": "int", "aios:min": 0},
                    ],
                },
            },
            "doc": "One each.",
            "aios:max": 50,
        },
    ],
}


def write(folder: Path, name: str = "expenses.claim", contract: str = "expense.claimed.v1") -> Path:
    """The files; returns the workflow's."""
    file = folder / f"{name}.yaml"
    file.write_text(WORKFLOW.format(name=name, contract=contract), encoding="utf-8")
    (folder / f"{name}.cases.yaml").write_text(CASES, encoding="utf-8")
    (folder / f"{contract}.avsc").write_text(json.dumps(CONTRACT), encoding="utf-8")
    return file
