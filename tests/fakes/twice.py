"""A workflow that asks one model and one prompt twice each, on the input of questions.py."""

from __future__ import annotations

from pathlib import Path

from tests.fakes import questions

WORKFLOW = """\
workflow: {name}
version: 1
owner: customer-operations
cost_centre: CC-2100
signed_off: {{by: Head of Customer Operations, on: 2026-11-20}}
about: Label and summarise a question, and do both once more.
input: {contract}
objectives: {{interactive_p95_s: 15, bulk_p95_s: 600, without_person_min: 0.9}}
policy: {{}}
labels: {{letters: {labels}}}
samples:
  - {{text: "You took this month's payment twice.", shown: false}}
start: label
steps:
  label:
    infer: &labelled
      status: labelling
      task: classify
      pool: classify
      model: triage-encoder
      input: input.text
      input_chars_max: 2000
      options: {{head: "'letters'"}}
      labels: labels.letters
      deadline_s: {{interactive: 60, bulk: 600}}
      attempts_max: 1
      then: tell
      on_error: &bad {{reason: model_failed, then: failed}}
  tell:
    infer: &told
      status: telling
      task: generate
      pool: generate
      model: summariser
      prompt: summary
      input: input.text
      input_chars_max: 2000
      deadline_s: {{interactive: 60, bulk: 600}}
      attempts_max: 1
      then: label_again
      on_error: *bad
  label_again: {{infer: {{<<: *labelled, then: tell_again}}}}
  tell_again: {{infer: {{<<: *told, then: done}}}}
  done: {{emit: {{status: decided, outcome: told, decided_by: "'policy'"}}}}
  failed: {{emit: {{status: decided, outcome: failed, decided_by: "'policy'"}}}}
"""

CASES = """\
cases:
  - name: a question is told twice
    input: {text: My card has not arrived., shown: false}
    given:
      label: {label: card, confidence: 0.9, out_of_scope: 0.1}
      tell: {text: A card has not arrived.}
      label_again: {label: card, confidence: 0.9, out_of_scope: 0.1}
      tell_again: {text: A card has not arrived.}
    expect: {outcome: told, decided_by: policy}
"""


def write(folder: Path, name: str, contract: str) -> Path:
    """The files; returns the workflow's."""
    return questions.write(folder, name, contract, workflow=WORKFLOW, cases=CASES)
