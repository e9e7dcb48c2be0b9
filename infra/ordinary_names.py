"""`python -m aios.infra.ordinary_names`: the files of processors/screening/ordinary, made again.

Enters: three packages that ship lists of names, installed beside this one only to run this: faker (names by country,
MIT), names (the US census of 1990 with frequencies, MIT, the census in the public domain), mimesis (names by language,
MIT). Leaves: frequency.tsv, how often a part occurs among people at large, from faker and names; skeletons.tsv, the
same of parts written without vowels, mostly from countries that write so; people.json, given names and surnames by
language, from mimesis, which frequency.tsv has never seen; and others.json, whole names of people and companies from
faker and of people from names: the evaluation draws from these two. Guaranteed: the same versions make the same bytes.
"""

from __future__ import annotations

import importlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from aios.processors.screening import names as screened
from aios.processors.screening.rarity import FOLDER

BILLION = 1_000_000_000
CENSUS_SHARE = 0.3  # of the whole: people named as in the United States, where they are counted best
BARE_SHARE = 0.8  # of the skeletons: people whose countries write without vowels, as they write there
BARE_OFTEN_MIN = 200  # in billionths: rarer skeletons are as good as unseen
SEED = 7
PEOPLE_A_LOCALE, COMPANIES_A_LOCALE, CENSUS_PEOPLE = 30, 25, 1_500
FAKER, ROMANISED = "faker", "faker, romanised Chinese and Japanese"
GIVEN = ("first_names", "first_names_male", "first_names_female", "first_romanized_names")
MIDDLE = (
    "middle_names",
    "middle_names_male",
    "middle_names_female",
    "patronymics",
    "patronymics_male",
    "patronymics_female",
)
SURNAMES = ("last_names", "last_names_male", "last_names_female", "last_romanized_names")


def shares(found: Mapping[str, float] | Sequence[str], *, bare: bool = False) -> Mapping[str, float]:
    """A list or a mapping with weights, as shares of one by part; bare: by skeleton, of parts without vowels only."""
    weights: dict[str, float] = defaultdict(float)
    listed: Iterable[tuple[str, float]] = found.items() if isinstance(found, Mapping) else ((one, 1.0) for one in found)
    for name, weight in listed:
        for part in screened.parts(str(name)):
            if len(part.text) > 1 and (part.bare or not bare):
                weights[screened.skeleton(part.text, bare=True) if bare else part.text] += float(weight)
    total = sum(weights.values()) or 1.0
    return {part: weight / total for part, weight in weights.items()}


def from_faker(*, bare: bool = False) -> list[Mapping[str, float]]:
    """By country: the shares of its given names and of its surnames. bare: of countries that write without vowels."""
    person = importlib.import_module("faker.providers.person")
    found: list[Mapping[str, float]] = []
    for folder in sorted(path.name for path in Path(person.__file__ or "").parent.iterdir() if "_" in path.name):
        if folder.startswith("__"):
            continue
        provider: Any = importlib.import_module(f"faker.providers.person.{folder}").Provider
        for kinds in (GIVEN, MIDDLE, SURNAMES):
            lists = [
                vars(provider)[kind] for kind in kinds if isinstance(vars(provider).get(kind), (Mapping, Sequence))
            ]
            together: dict[str, float] = defaultdict(float)
            for one in lists:
                for part, share in shares(one, bare=bare).items():
                    together[part] += share / len(lists)
            if together:
                found.append(together)
    return found


def from_census() -> list[Mapping[str, float]]:
    """Given names of women and men, and surnames, as counted in 1990."""
    found: list[Mapping[str, float]] = []
    for name in ("dist.female.first", "dist.male.first", "dist.all.last"):
        rows = (line.split() for line in (files("names") / name).read_text().splitlines())
        found.append({part.lower(): max(float(share), 0.0005) / 100 for part, share, *_ in rows})
    return found


def from_mimesis() -> dict[str, dict[str, list[str]]]:
    """By language: given names and surnames in Latin letters or not, as they are written there."""
    found = {}
    folder = Path(str(files("mimesis"))) / "datasets"
    for path in sorted(folder.glob("*/person.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        given, surnames = flat(told.get("names", ())), flat(told.get("surnames", ()))
        if given and surnames:
            found[path.parent.name] = {"given": sorted(given), "surnames": sorted(surnames)}
    return found


def whole_names() -> dict[str, list[str]]:
    """Names as faker and names make them, by set; people and companies of every locale that faker has."""
    faker, counted = importlib.import_module("faker"), importlib.import_module("names")
    found: dict[str, set[str]] = {"census": set(), "companies": set(), FAKER: set(), ROMANISED: set()}
    for kind in ("person", "company"):
        folder = Path(importlib.import_module(f"faker.providers.{kind}").__file__ or "").parent
        for locale in sorted(path.name for path in folder.iterdir() if re.fullmatch(r"[a-z]+_[A-Z]+", path.name)):
            made = faker.Faker(locale)
            made.seed_instance(SEED)
            if kind == "company":
                found["companies"].update(made.company() for _ in range(COMPANIES_A_LOCALE))
                continue
            found[FAKER].update(made.name() for _ in range(PEOPLE_A_LOCALE))
            if hasattr(made, "romanized_name"):
                found[ROMANISED].update(made.romanized_name() for _ in range(2 * PEOPLE_A_LOCALE))
    random.seed(SEED)  # `names` draws from the module's own generator
    found["census"].update(counted.get_full_name() for _ in range(CENSUS_PEOPLE))
    return {each: sorted(names) for each, names in found.items()}


def flat(found: object) -> set[str]:
    """Every word of a nest of lists and mappings."""
    if isinstance(found, str):
        return {found.strip()} if re.search(r"\w\w", found) else set()
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list | tuple) else ()
    return {word for each in inner for word in flat(each)}


def main() -> None:
    """Write the files."""
    mixed: dict[str, float] = defaultdict(float)
    census, countries = from_census(), from_faker()
    for lists, share in ((census, CENSUS_SHARE), (countries, 1 - CENSUS_SHARE)):
        for one in lists:
            for part, often in one.items():
                mixed[part] += share * often / len(lists)
    rows = sorted(((round(often * BILLION), part) for part, often in mixed.items()), reverse=True)
    text = "".join(f"{part}\t{often}\n" for often, part in rows if often)
    (FOLDER / "frequency.tsv").write_text(text, encoding="utf-8")
    bare: dict[str, float] = defaultdict(float)
    for part, often in mixed.items():
        bare[screened.skeleton(part, bare=True)] += (1 - BARE_SHARE) * often
    written_so = from_faker(bare=True)
    for one in written_so:
        for bones, often in one.items():
            bare[bones] += BARE_SHARE * often / len(written_so)
    counted = sorted(((round(often * BILLION), bones) for bones, often in bare.items()), reverse=True)
    text = "".join(f"{bones}\t{often}\n" for often, bones in counted if often >= BARE_OFTEN_MIN)
    (FOLDER / "skeletons.tsv").write_text(text, encoding="utf-8")
    others = json.dumps(whole_names(), ensure_ascii=False, indent=0, sort_keys=True)
    (FOLDER / "others.json").write_text(others + "\n", encoding="utf-8")
    people = json.dumps(from_mimesis(), ensure_ascii=False, indent=0, sort_keys=True)
    (FOLDER / "people.json").write_text(people + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
