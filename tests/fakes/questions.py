"""A workflow that asks one model twice, with a person in between, as files of an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

WORKFLOW = """\
workflow: {name}
version: 1
owner: customer-operations
cost_centre: CC-2100
signed_off: {{by: Head of Customer Operations, on: 2026-11-20}}
about: Label a question; where that is wanted, a person looks at the label and the model is asked again.
input: {contract}
objectives: {{interactive_p95_s: 15, bulk_p95_s: 600, without_person_min: 0.1}}
policy: {{}}
labels: {{letters: {labels}}}
samples:
  - {{text: "You took this month's payment twice.", shown: true}}
  - {{text: "My card has not arrived.", shown: false}}
start: first
steps:
  first:
    infer: &asked
      status: classifying
      task: classify
      pool: classify
      model: triage-encoder
      input: input.text
      input_chars_max: 2000
      options: {{head: "'letters'"}}
      labels: labels.letters
      deadline_s: {{interactive: 60, bulk: 600}}
      attempts_max: 2
      then: looked
      on_error: {{reason: model_failed, then: failed}}
  looked:
    rule:
      first_of:
        - {{when: input.shown, then: ask}}
      otherwise: {{then: labelled}}
  ask:
    review:
      status: waiting_for_person
      suggestion: answers.first.label
      confidence: answers.first.confidence
      out_of_scope: answers.first.out_of_scope
      choices: labels.letters
      expires_h: 24
      then: again
      on_expiry: {{reason: no_person_in_time, then: late}}
  again:
    infer:
      <<: *asked
      then: seen
      on_error: {{reason: not_asked_again, then: seen}}
  seen:
    emit:
      status: decided
      outcome: seen
      label: answers.ask.label
      decided_by: "'reviewer:' + answers.ask.reviewer"
  labelled: {{emit: {{status: decided, outcome: labelled, label: answers.first.label, decided_by: "'policy'"}}}}
  failed: {{emit: {{status: decided, outcome: failed, decided_by: "'policy'"}}}}
  late: {{emit: {{status: expired, outcome: expired, decided_by: "'timer'"}}}}
"""

CASES = """\
cases:
  - name: a question is labelled
    input: {text: My card has not arrived., shown: false}
    given: {first: {label: card, confidence: 0.9, out_of_scope: 0.1}}
    expect: {outcome: labelled, decided_by: policy}
"""

CONTRACT = {
    "type": "record",
    "name": "QuestionAsked",
    "namespace": "acme.questions",
    "doc": "A customer asks.",
    "fields": [
        {"name": "text", "type": "string", "doc": "What.", "aios:max": 2000},
        {"name": "shown", "type": "boolean", "doc": "To a person."},
    ],
}
LETTERS = (
    "[bank_account, card, credit_reporting, debt_collection, money_transfer, mortgage, personal_loan, student_loan,"
    " vehicle_loan]"
)


def write(folder: Path, name: str, contract: str, *, workflow: str = WORKFLOW, cases: str = CASES) -> Path:
    """The files; returns the workflow's. workflow, cases: of another one on the same input."""
    file = folder / f"{name}.yaml"
    file.write_text(workflow.format(name=name, contract=contract, labels=LETTERS), encoding="utf-8")
    (folder / f"{name}.cases.yaml").write_text(cases, encoding="utf-8")
    (folder / f"{contract}.avsc").write_text(json.dumps(CONTRACT), encoding="utf-8")
    return file
