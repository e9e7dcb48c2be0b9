"""What a document says of a person, with the place where it says so."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

QUOTE_CHARS_MAX = 300
FACTS_MAX = 60  # of one document


class Kind(StrEnum):
    NAME = "name"  # given names first
    ALIAS = "name_also"  # another one of the holder: at birth, before a marriage, on a stage
    MARKED = "marked"  # its own words that it is void, a specimen, reported lost, its holder dead
    ZONE_BROKEN = "zone_broken"  # a line of a machine-readable zone of which a check digit does not hold
    BIRTH_DATE = "birth_date"  # YYYY-MM-DD
    NATIONALITY = "nationality"  # ISO 3166 alpha-2
    ADDRESS = "address"
    COUNTRY = "country"  # of the address, ISO 3166 alpha-2
    DOCUMENT_NUMBER = "document_number"
    ISSUED_BY = "issued_by"  # ISO 3166 alpha-2
    EXPIRES = "expires"  # YYYY-MM-DD
    ISSUED_ON = "issued_on"  # YYYY-MM-DD, of a bill or statement its date
    UNEXPLAINED = "date_unexplained"  # YYYY-MM-DD, on an identity document: one of several that may be its expiry
    BESIDE = "name_beside"  # of somebody else who is addressed, or holds what the document is about, as well
    MENTIONED = "country_mentioned"  # ISO 3166 alpha-2; whatever an identity document says of it


class By(StrEnum):
    """How it was read, the surest first."""

    ZONE = "zone"  # machine-readable, check digits hold
    LABEL = "label"
    SENTENCE = "sentence"
    BLOCK = "block"  # name and address as on an envelope
    STATED = "stated"  # the application says it, and it stands there
    SHAPE = "shape"  # by its form: on an identity document it can be nothing else


SURE = {By.ZONE: 0.99, By.LABEL: 0.95, By.SENTENCE: 0.85, By.BLOCK: 0.8, By.STATED: 0.75, By.SHAPE: 0.7}
SURE_OF_PICTURE = 0.9  # times, where it was read from a picture


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(Part):
    """page, line: from 1. start, end: characters of the page's text."""

    page: int
    line: int
    start: int
    end: int


class Fact(Part):
    """quote: the source's own words there. other: the other reading of a date whose day and month could be exchanged.
    sure: 0 to 1, by how it was read; no measured probability.
    """

    kind: Kind
    value: str
    quote: str = Field(max_length=QUOTE_CHARS_MAX)
    places: tuple[Place, ...]
    by: By
    sure: float
    other: str = ""
