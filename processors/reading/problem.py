"""Why a document was not read, or not whole: a word for rules, a sentence for people."""

from __future__ import annotations

from enum import StrEnum


class Problem(StrEnum):
    """What is wrong with the document itself; what is wrong with us is an error of the call instead."""

    NONE = ""
    EMPTY = "empty"  # nothing in it to read
    UNSUPPORTED = "unsupported"  # neither text nor PDF nor picture
    BROKEN = "broken"
    ENCRYPTED = "encrypted"
    TOO_LARGE = "too_large"
    TOO_MANY_PAGES = "too_many_pages"
    TOO_SLOW = "too_slow"  # or it broke the process that read it
    NOT_FOUND = "not_found"  # nothing is kept under its reference
    DIFFERS = "differs"  # what is kept has another hash than its reference says


SENTENCES = {
    Problem.NONE: "",
    Problem.EMPTY: "there is nothing in it to read",
    Problem.UNSUPPORTED: "it is neither text nor PDF nor a picture (PNG, JPEG, TIFF)",
    Problem.BROKEN: "it is damaged and cannot be opened",
    Problem.ENCRYPTED: "it asks for a password",
    Problem.TOO_LARGE: "it is larger than documents may be",
    Problem.TOO_MANY_PAGES: "it has more pages than are read",
    Problem.TOO_SLOW: "reading it took too long or too much memory",
    Problem.NOT_FOUND: "nothing is kept under its reference for this tenant",
    Problem.DIFFERS: "what is kept under its reference has another hash",
}
