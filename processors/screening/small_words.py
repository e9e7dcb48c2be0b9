"""The parts of a name that say little: particles and titles, and what kind of company it is.

Enters: a name, or a part of one. Leaves: whether it is such a part, or a usual word of companies; a name with its legal
form as one part. Guaranteed: total. They are kept, not dropped: `Al Shami` is also `Alshami`, and a company may be
called Public.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from aios.processors.screening.sounds import sound


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARTICLES = _words(
    "al el ul ur ad ar as at an az ash the a u e y i o la le los las lo de del della di da do dos das du des d l "
    "van von der den zu zum bin ben ibn bint bt b abu abou um umm ould uld and und et of for "
    "haji hajji hajj sheikh shaykh sheik shaikh mullah mulla maulana maulvi sayyid sayed qari dr doctor jr sr ii iii"
)
LEGAL = _words(
    "llc jsc pjsc ltd co inc corp sa sarl srl gmbh ag bv nv plc ooo oao zao ao pao company limited corporation "
    "incorporated fze fzc fzco fz llp lp kg spa sas ltda cv rl doo eurl pte pty sdn bhd holding holdings group dto "
    "sl slu sro zrt kft nyrt oyj aps ehf ohg kgaa mbh sasu eirl snc scs sarlau ead eood ood sti sirketi anonim "
    "limitada sociedad anonima societe anonyme societa aktiengesellschaft gesellschaft berhad tbk pvt private spolka "
    "tnhh kaisha kabushiki youxian gongsi gufen zeren unlimited cia compania compagnie"
)
BUSINESS = _words(  # what companies say they do, whose they are and where: no name by itself
    "trading trade traders import imports export exports importers exporters commerce commercial comercial "
    "comercializadora distribuidora distribution distributors marketing sales services service servicios servicos "
    "solutions systems sistemas technology technologies technical tekhnologii tech teknoloji tecnologia industry "
    "industries industrial industria industrias sanayi enterprise enterprises empresa empresas predpriyatie "
    "production manufacturing factory zavod plant works mills engineering construction constructions construcciones "
    "constructora contracting contractors building development investment investments inversiones inversora invest "
    "finance financial capital bank banca banque insurance exchange management consulting consultants consultoria "
    "advisory transport transportation transportes logistics logistica logistik cargo freight forwarding shipping "
    "shipyard marine maritime navigation lines line airlines airline aviation air aero travel tours turizm tourism "
    "hotel hotels energy petroleum petrochemical petrol oil gas power electric electrical electronics electronic "
    "chemical chemicals pharmaceutical pharma medical food foods agro agricultural agricola textile textiles steel "
    "metal metals metallurgical mining minerals gold real estate property properties inmobiliaria media press "
    "communications telecom network networks research scientific institute university academy center centre centro "
    "foundation association organization society union federation committee council office bureau agency ministry "
    "department international internacional global world worldwide general universal national state federal central "
    "united overseas east west north south eastern western northern southern middle grupo groupe gruppe gruppa firm "
    "firma sons brothers bros hijos hermanos hnos fils freres filhos irmaos sohne partners partner associates "
    "asociados associes associati associados yioi american america usa british english french german germany "
    "deutschland france italia italy espana nederland russia russian iran iranian china chinese india turkey turkiye "
    "europe european euro asia asian africa african arab gulf syria syrian korea korean mexico brasil brazil "
    "colombia venezuela cuba belarus dubai hong kong"
)
LEGAL_WORDS = sorted(
    _words(
        "limited liability company joint stock public closed obshchestvo obshestvo ogranichennoi ogranichennoy "
        "otvetstvennostyu aktsionernoe aktsionernoye publichnoe corporation incorporated drug trafficking organization"
    )
)
LEGAL_WORD_LETTERS_MIN = 6  # of one that may be mistyped
LEGAL_WORD_EDITS_MAX = 2
LIGHT = PARTICLES | LEGAL | frozenset(LEGAL_WORDS)
_COUNTED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED, 1)}

FORM_WORDS = (
    "joint", "stock", "company", "limited", "liability", "public", "closed", "obshchestvo", "ogranichennoi",
    "ogranichennoy", "otvetstvennostyu", "aktsionernoe", "aktsionernoye", "publichnoe", "trafficking", "organization",
)  # fmt: skip
_SOUNDING = {sound(word): word for word in FORM_WORDS}
FORM_WORD_LETTERS_MIN = 4  # of one that may be mistyped beside others that make the same form
FORM_NEIGHBOURS_MIN = 2  # near to a word of a form, with itself: alone it may be a name
_WORD = re.compile(r"[a-z]+")
_RUN_ON = re.compile(r"(joint stock company|limited liability company|drug trafficking organization|otvetstvennostyu)")
_RUN_ON_WORD = r"limited|company|corporation|obshc?hestvo|aktsionerno[iy]?e"
_GLUED = (  # a word of a form without the space before or behind it; three letters are left of the neighbour
    (re.compile(rf"(?<=[^\W\d_]{{3}})(?:{_RUN_ON_WORD})\b"), r" \g<0>"),
    (re.compile(rf"\b(?:{_RUN_ON_WORD})(?=[^\W\d_]{{3}})"), r"\g<0> "),
)
_APART = re.compile(r"(?<![\[,]) ")  # a space between words, that people leave out; not one of a set
_SHARES = r"(?:joint stock company|aktsionerno[iy]?y?e obshchestvo)"
_LIMITED = r"obshc?hestvo s ogranich?en+o[iy]u? otvetstven+ost[iy]?yu|limited liability company|o[ .]+o[ .]+o"
_LATIN_FORMS = tuple(
    (re.compile(rf"\b(?:{re.sub(_APART, ' ?', written)})\b"), short)
    for written, short in (
        (_LIMITED, "ooo"),
        (rf"(?:public|otkrytoye?|publichnoye?|otkrytoe|publichnoe) {_SHARES}", "pao"),
        (rf"(?:(?:closed|open|zakrytoye?|zakrytoe) )?{_SHARES}", "ao"),
        (r"drug trafficking organi[sz]ation", "dto"),
        (r"co(?:mpany)?[., ]+(?:ltd|limited)", "ltd"),
        (r"s[ .]+a[ .]+de[ .]+c[ .]+v", "sa"),
        (r"s[ .]+de[ .]+r[ .]+l", "srl"),
        (r"s[ .]+a", "sa"),
        (r"l[ .]+l[ .]+c", "llc"),
        (r"(?:gufen )?you ?xian (?:ze ?ren )?gong ?si", "ltd"),
    )
)
_LONG_FORMS = (*_LATIN_FORMS, (re.compile("(?:股份)?有限(?:责任|責任)?公司|株式会社|주식회사"), " ltd "))
_ANY_LONG_FORM = re.compile(
    r"obsh|limited|joint|akts|\bo[ .]+o|drug|\bco\b|company|\bs[ .]|\bl[ .]|xian|公司|会社|회사"
)


@lru_cache(maxsize=65_536)
def light(text: str) -> bool:
    """Whether a part says little: a particle, a title, a word of a legal form, the latter mistyped too."""
    if text in LIGHT:
        return True
    if len(text) < LEGAL_WORD_LETTERS_MIN:
        return False
    found = process.extractOne(text, LEGAL_WORDS, scorer=OSA.distance, score_cutoff=LEGAL_WORD_EDITS_MAX)
    return found is not None


def short_forms(name: str) -> str:
    """A company's legal form as one part, however long it is written."""
    before = name.lower()
    text = _mended(before)
    if text == before and not _ANY_LONG_FORM.search(text):
        return name
    for pattern, short in _LONG_FORMS:
        text = pattern.sub(short, text)
    return text if text != before else name


def _mended(text: str) -> str:
    """The words of a long form as they are spelt, if they are mistyped or run on into their neighbours.

    One word that is near to `stock` may be a name; two neighbours that are near to words of a form are the form.
    """
    text = _RUN_ON.sub(r" \1 ", text)
    for glued, apart in _GLUED:
        text = glued.sub(apart, text)
    found = list(_WORD.finditer(text))
    meant = [_form_word(one[0]) for one in found]
    if sum(word is not None for word in meant) < FORM_NEIGHBOURS_MIN:
        return text
    pieces, last = [], 0
    for place, (one, word) in enumerate(zip(found, meant, strict=True)):
        beside = meant[max(place - 2, 0) : place] + meant[place + 1 : place + 3]
        if word is not None and any(beside):
            pieces += [text[last : one.start()], word]
            last = one.end()
    return "".join((*pieces, text[last:]))


@lru_cache(maxsize=65_536)
def _form_word(word: str) -> str | None:
    """The word of a legal form that `word` is, sounds like, or is a slip away from."""
    if len(word) < FORM_WORD_LETTERS_MIN:
        return None
    edits = 1 if len(word) < LEGAL_WORD_LETTERS_MIN else LEGAL_WORD_EDITS_MAX
    found = process.extractOne(word, FORM_WORDS, scorer=OSA.distance, score_cutoff=edits)
    if found is not None and (found[1] < LEGAL_WORD_EDITS_MAX or len(found[0]) > LEGAL_WORD_LETTERS_MIN):
        return found[0]
    return _SOUNDING.get(sound(word))
