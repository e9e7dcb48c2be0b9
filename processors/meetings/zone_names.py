"""Whose clock is meant: "Berlin time", "3pm EST", "their time".

Enters: the words before "time", or an abbreviation. Leaves: an IANA name, or None. Guaranteed: an abbreviation that means
two clocks (IST, CST outside America, BST is Britain's) is None, which is asked for. Names of cities come from the time
zone database itself, and a short list of cities that it has under another name.
"""

# ruff: noqa: E501 - a pattern is read whole
from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

ABBREVIATED = {
    "est": "America/New_York", "edt": "America/New_York", "et": "America/New_York", "eastern": "America/New_York",
    "cdt": "America/Chicago", "ct": "America/Chicago", "central": "America/Chicago", "mst": "America/Denver", "mdt": "America/Denver",
    "mountain": "America/Denver", "pst": "America/Los_Angeles", "pdt": "America/Los_Angeles",
    "pt": "America/Los_Angeles", "pacific": "America/Los_Angeles", "gmt": "UTC", "utc": "UTC", "bst": "Europe/London",
    "aest": "Australia/Sydney", "aedt": "Australia/Sydney", "awst": "Australia/Perth", "nzst": "Pacific/Auckland", "nzdt": "Pacific/Auckland",
    "hkt": "Asia/Hong_Kong", "sgt": "Asia/Singapore", "msk": "Europe/Moscow", "sast": "Africa/Johannesburg", "akst": "America/Anchorage",
    "hst": "Pacific/Honolulu", "wet": "Europe/Lisbon", "west": "Europe/Lisbon", "eet": "Europe/Helsinki", "eest": "Europe/Helsinki",
    "cet": "Europe/Berlin", "cest": "Europe/Berlin", "jst": "Asia/Tokyo", "uk": "Europe/London",
    "german": "Europe/Berlin", "french": "Europe/Paris", "japan": "Asia/Tokyo", "germany": "Europe/Berlin",
    "france": "Europe/Paris", "india": "Asia/Kolkata", "indian": "Asia/Kolkata",
}  # fmt: skip
AMBIGUOUS = frozenset({"ist", "cst", "ast", "sst"})
_CITIES = {
    "america/new_york": "nyc boston philadelphia washington atlanta miami|new york city|washington dc",
    "america/los_angeles": "seattle|san francisco|san diego|la|las vegas",
    "america/chicago": "dallas houston austin",
    "america/toronto": "ottawa",
    "europe/berlin": "munich hamburg frankfurt cologne stuttgart|münchen|köln",
    "europe/zurich": "geneva basel",
    "europe/london": "manchester edinburgh cambridge oxford",
    "asia/kolkata": "bangalore bengaluru mumbai delhi chennai|new delhi",
    "asia/shanghai": "beijing shenzhen",
    "europe/madrid": "barcelona",
    "europe/rome": "milan",
    "europe/paris": "lyon",
    "america/sao_paulo": "rio|são paulo",
}


@cache
def _cities() -> dict[str, str]:
    names = {name.lower(): name for name in available_timezones()}
    found = {
        key.rsplit("/", 1)[1].replace("_", " "): name
        for key, name in sorted(names.items())
        if "/" in key and not key.startswith(("etc/", "us/", "posix/", "right/", "systemv/"))
    }
    for zone, cities in _CITIES.items():
        words, *groups = cities.split("|")
        found |= dict.fromkeys([*words.split(), *groups], names.get(zone, "UTC"))
    return found


def zone_of(words: str) -> str | None:
    """words: in lower case, without "time"."""
    words = words.removesuffix(" standard").removesuffix(" daylight").strip()
    return ABBREVIATED.get(words) or _cities().get(words)
