"""What an application and its documents are held against each other as, and what comes of it: shapes that travel."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aios.processors.reading.fact import Fact
from aios.processors.reading.kinds import Document
from aios.processors.reading.problem import Problem


class Said(StrEnum):
    """How well two statements go together."""

    AGREES = "agrees"
    CLOSE = "close"
    DIFFERS = "differs"
    UNKNOWN = "unknown"  # one of them is not there


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Applicant(Shape):
    """As the application says it."""

    name: str
    birth_date: str = ""
    country: str = ""
    address: str = ""


class DocumentRead(Shape):
    """What was read of one document. problem: a word, empty if none; then `says` is a sentence and there are no facts.

    name to expires: the surest fact of each kind, empty where there is none. scanned: pages read from a picture.
    """

    file: str
    kind: Document
    media_type: str
    sha256: str
    pages: int
    scanned: int
    facts: tuple[Fact, ...]
    problem: Problem
    says: str
    name: str
    birth_date: str
    nationality: str
    country: str
    address: str
    document_number: str
    expires: str


class Subject(Shape):
    """Somebody to screen. country: ISO 3166 alpha-2. found_in: `application`, or the document's file."""

    name: str
    born: str
    country: str
    found_in: str


class Finding(Shape):
    """code: for rules and points. says: for people."""

    code: str
    says: str
    file: str = ""


class Comparison(Shape):
    """countries: everything that is said of the person's country, ISO 3166 alpha-2. unscreened: whom nobody screens,
    because there are more names than are screened.
    """

    subjects: Annotated[tuple[Subject, ...], Field(min_length=1)]  # who applies comes first
    unscreened: tuple[Subject, ...] = ()
    findings: tuple[Finding, ...]
    name: Said
    birth_date: Said
    address: Said
    identity: bool  # a document that shows who somebody is, whole or not
    countries: tuple[str, ...]
    unread: int  # documents that could not be read
