"""What labels call another name of somebody, in the languages of Europe. Pure.

In: the folded words of a label. Out: whether they ask for another name, and whether only maybe (`Other names` are the
given names where nothing else asks for these, as on African and Caribbean cards). Rejected: words by their meanings, as
of other labels (lexicon.py): `former` and `birth` say this of a name and something else of an address or a day.
"""

from __future__ import annotations

import re

from aios.processors.reading import lexicon

REST_MAX = 4  # words behind those that say it
OTHER = re.compile(r"other (?:fore)?names?(?:\(s\))?")

_SAYS = re.compile(
    # English
    r"(?:also|formerly|previously|otherwise) (?:known|called)(?: as)?|[af]\.?\s?k\.?\s?a\b\.?|alias(?:es)?"
    r"|(?:any )?(?:other|former|previous|prior|earlier|alternate|alternative|additional|maiden|birth|married|stage|pen)"
    r" (?:\w+ )?(?:sur|last ?|family ?)?names?(?:\(s\))?|(?:sur|family )?names? (?:at|by|of|before) (?:birth|marriage)"
    r"|names? (?:formerly|previously) used|(?:formerly|nee)$|pseudonyms?|nick ?names?"
    # German
    r"|geburtsname|(?:(?:fruhere|ehemalige|andere|sonstige|weitere|vorherige)[rnms]?) (?:familien|nach|zu|vor)?namen?"
    r"|madchenname|ledigname|(?:ordens|kunstler|spitz|alias)-?(?:name|,| und| oder| /).*|auch bekannt als"
    # French
    r"|noms? de (?:naissance|jeune fille)|nom d'(?:usage|epou(?:x|se))|nom marital|surnoms?"
    r"|(?:autres?|anciens?) noms?|noms? (?:anterieurs?|precedents?)|aussi connue? sous.*|pseudonymes?"
    # Spanish, Italian, Portuguese, Romanian
    r"|otros? (?:nombres?|apellidos?)|(?:nombres?|apellidos?) (?:anterior(?:es)?|previos?|de solter[ao]|de nacimiento)"
    r"|(?:tambien )?conocid[oa] como|seudonimos?|apodos?|nombre artistico"
    r"|altr[io] (?:cog)?nom[ei]|(?:cog)?nom[ei] (?:precedent[ei]|da nubile|da celibe|di nascita|alla nascita|d'arte)"
    r"|precedent[ei] (?:cog)?nom[ei]|(?:anche )?(?:not[oa]|conosciut[oa]) (?:anche )?come|pseudonimi?|soprannom[ei]"
    r"|outros? (?:nomes?|apelidos?)|(?:nomes?|apelidos?) (?:anterior(?:es)?|de solteir[ao]|de nascimento|artistico)"
    r"|(?:tambem )?conhecid[oa] (?:como|por)|alcunhas?"
    r"|nume (?:anterio[a]?re?|de fata|la nastere|de nastere|purtat.*)|alte nume|cunoscuta? (?:si )?(?:ca|sub).*|porecla"
    # Dutch, Danish, Norwegian, Swedish, Finnish, Estonian
    r"|(?:andere|vorige|vroegere|eerdere) (?:achter)?na(?:am|men)|geboortenaam|meisjesnaam|ook bekend als|bijnaam"
    r"|pseudoniem|(?:tidligere|andre) (?:efter|etter|for|mellem)?navne?|fodenavn|fodselsnavn|pigenavn|pikenavn"
    r"|ogsa (?:kendt|kjent) som|kunstnernavn|(?:tidigare|andra) (?:efter)?namn|fodelsenamn|flicknamn|aven kand som"
    r"|(?:entinen|entiset|aiempi|aiemmat|muut?|edellinen|edelliset) (?:suku|etu)?nim(?:i|et)|tyttonimi|syntymanimi"
    r"|peitenimi|(?:endine|endised|teised|varasem) (?:perekonna)?nim(?:i|ed)|neiupolvenimi|sunninimi"
    # Polish, Czech, Slovak, Slovenian, Croatian, Latvian, Lithuanian
    r"|(?:poprzedni[ea]|inne|wczesniejsz[ea]) (?:nazwisk[oa]|imiona|imie)|nazwisko (?:rodowe|panienskie|poprzednie)"
    r"|znan[ya] (?:takze |rowniez )?jako|(?:drivejsi|predchozi|byvale|dalsi|jina) (?:prijmeni|jmen[oa])"
    r"|rodne (?:prijmeni|priezvisko|meno|jmeno)|prezdivka|prezyvka"
    r"|(?:predchadzajuce|predosle|ine|dalsie|byvale) (?:priezvisko|meno|mena)|(?:tez )?znam[ya] (?:take )?(?:jako|ako)"
    r"|(?:ranije|prijasnje|prejsnje|drug[ao]) (?:ime(?:na)?|prezime|priimek)|(?:djevojacko|rodeno|dekliski|rojstni)"
    r" (?:prezime|priimek)|poznata? (?:i )?kao|nadimak|vzdevek"
    r"|(?:iepriekseja?is|dzimtais|citi|cits) (?:uz)?vard[si]|(?:ankstesne|mergautine|kita) pavarde|kiti vardai"
    # Hungarian, Turkish, Greek, Russian, Ukrainian, Bulgarian
    r"|(?:szuletesi|korabbi|elozo|egyeb|leanykori) (?:csaladi )?nev(?:e|ek)?|mas neven|alnev"
    r"|(?:onceki|eski|diger) (?:ad|soyad)[a-z]*|kizlik soyad[a-z]*|dogum (?:ad|soyad)i|takma ad[a-z]*"
    r"|(?:πατρικο|προηγουμεν[οα]|αλλ[οα]) (?:ονομα|ονοματα|επωνυμο)|(?:το )?γενος|γνωστ(?:ος|η) (?:και )?ως|ψευδωνυμο"
    r"|(?:прежн|предыдущ|друг|девич|добрачн)\w+ (?:имя|имена|фамили[яи])|известн?[а-я]* (?:также )?как|псевдон[иі]м"
    r"|(?:попередн|колишн|інш|дівоч)\w+ (?:ім'?я|імена|прізвищ[еа])|відом[а-яі]* (?:також )?як"
    r"|(?:предишн|друг|моминск)\w+ (?:име|имена|фамили[яи])|известен още като"
)


def is_alias(head: str) -> bool:
    """Whether a folded label asks for another name, in one of its languages; what follows is a label's, too."""
    ways = re.split(r"\s*[/|]\s*|\s*\((?!s\))", head.replace("a/k/a", "aka"))
    return any(_is_one(way.strip()) for way in ways)


def is_maybe(head: str) -> bool:
    """Whether it is one only beside another label that asks for given names."""
    return bool(OTHER.fullmatch(head.strip(" :")))


def length(head: str) -> int:
    """How many characters at the beginning say it, and nothing else; 0: they do not."""
    said = _SAYS.match(head)
    return said.end() if said is not None and not head[said.end() : said.end() + 1].isalpha() else 0


def _is_one(way: str) -> bool:
    end = length(way)
    rest = re.findall(r"[^\W\d_]+", way[end:])
    return end > 0 and len(rest) <= REST_MAX and all(lexicon.meanings(word) or word in _REST for word in rest)


_REST = frozenset(("if", "any", "used", "applicable", "different", "known", "as"))
