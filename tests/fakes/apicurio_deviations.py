"""What Apicurio Registry does otherwise, and the tests that therefore must fail on it; see apicurio.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_BY_REASON: Mapping[str, Sequence[str]] = {
    "its root is a page for people": ("test_the_root_answers_when_it_is_ready",),
    "gives a schema's text back as it came, not in its compact form": ("test_answers_have_the_shapes_of_the_protocol",),
    "a list of subjects is not in the order of their names": ("test_lists_are_cut_into_pages",),
    "a schema is compatible with a subject that is not there": (
        "[POST-/compatibility/subjects/no-such-subject/versions/latest-body7-40401]",
    ),
    "40401 where a subject has no level of its own": (
        "[GET-/config/no-such-subject-None-40408]",
        "[DELETE-/config/no-such-subject-None-40408]",
    ),
    "every name has a mode, also where there is no subject": (
        "[GET-/mode/no-such-subject-None-40409]",
        "[DELETE-/mode/no-such-subject-None-40409]",
    ),
    "takes recursive and endless schemas and other types, and answers 409 or 500 where it takes none": (
        "[POST-/subjects/no-such-subject/versions-body17-42201]",
        "[POST-/subjects/no-such-subject/versions-body19-42201]",
        "[POST-/subjects/no-such-subject/versions-body20-42201]",
        "[POST-/subjects/no-such-subject/versions-body23-42201]",
        "[POST-/subjects/no-such-subject/versions-body24-42201]",
        "[POST-/subjects/no-such-subject/versions-body25-42201]",
        "[POST-/subjects/no-such-subject-body26-42201]",
        "[POST-/compatibility/subjects/no-such-subject/versions-body27-42201]",
    ),
    "40401 or 40402 for a version that is no number": (
        "[GET-/subjects/no-such-subject/versions/0-None-42202]",
        "[GET-/subjects/no-such-subject/versions/x-None-42202]",
        "[GET-/subjects/no-such-subject/versions/99999999999999999999-None-42202]",
    ),
    "500 for a level that is none": ("[PUT-/config/no-such-subject-body32-42203]",),
    "an alias is dropped without a word": ("[PUT-/config/no-such-subject-body33-422]",),
    "takes the mode IMPORT": ("[PUT-/mode/no-such-subject-body34-42204]",),
    "an id or version that is asked for is ignored": (
        "[POST-/subjects/no-such-subject/versions-body35-42205]",
        "[POST-/subjects/no-such-subject/versions-body36-42205]",
    ),
    "takes any name": (
        "[POST-/subjects/:.context:s/versions-body37-42208]",
        "[POST-path38-body38-42208]",
        "[POST-/subjects/a%0Ab/versions-body39-42208]",
    ),
    "has no bound of ours on sizes": (
        "[POST-/subjects/no-such-subject/versions-body40-42209]",
        "[POST-/subjects/no-such-subject/versions-body41-42209]",
    ),
    "drops metadata and rules without a word": (
        "[POST-/subjects/no-such-subject/versions-body42-42210]",
        "[POST-/subjects/no-such-subject/versions-body43-42210]",
        "[POST-/subjects/no-such-subject/versions-body44-42210]",
        "[POST-/subjects/no-such-subject/versions-body45-42210]",
    ),
    "errors of HTTP have another body": (
        "[POST-/subjects/no-such-subject/versions-\\xff{-400]",
        "[POST-/subjects/no-such-subject/versions-body47-400]",
        "[POST-/subjects/no-such-subject/versions-[]-400]",
        "[POST-/subjects/no-such-subject/versions-body49-413]",
        "[GET-/associations/resources/-/topic?resourceType=topic&associationType=value-None-404]",
        "[GET-/schemas/guids/x-None-404]",
        "[PATCH-/config-None-405]",
    ),
    "it took what it had to refuse": ("test_what_was_refused_left_nothing",),
    "409 where a version is to be deleted for good before it is deleted": ("test_refusals_of_a_subject_that_exists",),
    "lists every subject of a schema, cut and ordered another way": ("test_versions_grow_and_are_found",),
    "a schema that differs only in doc, aliases or an enum's default gets the old id": (
        "test_a_schema_has_one_id_however_it_is_written",
    ),
    "40401 instead of yes for a subject that is not there": ("test_compatibility_is_told_and_enforced",),
    "drops metadata and rules": ("test_metadata_and_rules_come_back",),
    "a version deleted for good leaves its number to no other, but is listed another way": (
        "test_deletes_are_soft_first",
    ),
    "a mode of one subject is ignored": ("test_a_read_only_subject_takes_nothing",),
    "takes recursive schemas": ("test_an_unsafe_or_incompatible_contract_is_refused_by_name",),
}
"""Of test_every_refusal_has_its_code the parameters only."""

DEVIATIONS = {
    test if test.startswith("test_") else f"test_every_refusal_has_its_code{test}": reason
    for reason, tests in _BY_REASON.items()
    for test in tests
}
"""Test → why Apicurio fails it."""
