"""Recorded histories: what moved cases once, and what plan wrote of it, byte for byte.

`<workflow>@<version>.json` holds cases of that version. tests/unit/test_histories.py replays each against the code as
it is now: an open case must not go on otherwise after a deploy. Where a change of behaviour is meant, cases in flight
need an answer first (a new version of the workflow, a field with a default); then
`python -m tests.histories.record` records anew, and the diff shows what changed.
"""
