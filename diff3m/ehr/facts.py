"""One reader of each fact about a patient: age, sex, view, dates, and text that says "unknown".

DICOM headers, manifests, tables of data sets, the form and the API all read through these functions, so that "063Y",
"63" and 63.0 are the same age everywhere. A reader returns None for what says nothing, and raises EHRError, with a
sentence that does not name the field, for what it does not understand.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import date

from .errors import EHRError

UNKNOWN_WORDS = frozenset(
    {"", "unknown", "unk", "nan", "none", "null", "nil", "na", "n/a", "n.a.", "<na>", "nat", "?", "-", "--", "—",
     "–", ".",
     "missing", "not known", "not available", "not recorded", "anonymized", "anonymised", "removed",
     "#n/a", "#na", "#value!", "#ref!", "#div/0!", "#num!", "#name?", "#null!"}
)  # fmt: skip
MAX_TEXT = 40  # characters of a value that is quoted back

ADULT_AGE = 18  # years from which a patient is an adult, the only people the shipped models know
AGE_RANGE = (0.0, 120.0)  # years
OLDEST_BY_BIRTH_DATE = 110  # years; an older birth date is an anonymizer's placeholder
AGE_UNITS = {
    **dict.fromkeys(
        ("", "y", "yr", "yrs", "year", "years", "yo", "y/o", "y.o", "years old", "yrs old", "year old", "-year-old"),
        1.0,
    ),
    **dict.fromkeys(("a", "an", "ans", "j", "jahr", "jahre", "anni", "let", "lat"), 1.0),
    **dict.fromkeys(("ano", "anos", "año", "años"), 1.0),
    **dict.fromkeys(("г", "год", "года", "лет", "岁", "歲", "歳", "才", "세"), 1.0),
    **dict.fromkeys(("m", "mo", "mon", "month", "months", "monat", "monate", "meses", "mois", "mesi"), 12.0),
    **dict.fromkeys(("w", "wk", "week", "weeks", "woche", "wochen"), 365.25 / 7),
    **dict.fromkeys(("d", "day", "days", "tag", "tage"), 365.25),
}  # per year
AGE = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\s*([^\d,]*?)\.?")
TOP_CODED_AGE = re.compile(r"(?:(\d+)\s*\+|(?:>=|≥)\s*(\d+)|>\s*(\d+))\s*(?:y|yrs?|years?)?")
AGE_PLACEHOLDER = 999  # and any larger number of the same digits

BIRTH_DATE_PLACEHOLDERS = frozenset(
    {date(1, 1, 1), date(1753, 1, 1), date(1800, 1, 1), date(1899, 12, 30), date(1899, 12, 31), date(1900, 1, 1),
     date(1901, 1, 1), date(1111, 11, 11)}
)  # fmt: skip
# days on which a computer's clock begins, and no digital film was taken
STUDY_DATE_PLACEHOLDERS = BIRTH_DATE_PLACEHOLDERS | {date(1970, 1, 1), date(1980, 1, 1)}
DATE = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:\.0+)?(?:[ T]\d{2}:?\d{2}.*)?")
DATE_AND_TIME = re.compile(r"(\d{4})()(\d{2})(\d{2})\d{4}(?:\d{2})?(?:\.\d+)?(?:[+-]\d{4})?")  # as DICOM's VR DT
LAST_PLACEHOLDER_YEAR = 1901  # of a birth date that an anonymizer writes
YOUNGEST = 0.01  # years; an age of 0 would count as unknown
INFANT_YEARS, INFANT_MONTHS = 2, 2  # ages under these are written in months, and in days

SEXES = ("F", "M")
SEX_WORDS = {
    **dict.fromkeys(("f", "female", "woman", "women", "girl", "w", "weiblich", "frau", "femenino", "femenina",
    "mujer"), "F"),
    **dict.fromkeys(("feminin", "feminine", "femme", "feminino", "mulher", "femmina", "donna", "vrouw"), "F"),
    **dict.fromkeys(("m", "male", "man", "men", "boy", "mannlich", "mann", "masculino", "masculin", "hombre", "varon"),
    "M"),
    **dict.fromkeys(("masculine", "homme", "homem", "maschio", "uomo"), "M"),
    **dict.fromkeys(("ж", "жен", "женский", "женщина", "kobieta", "kadin", "kvinna", "kvinde",
    "nainen", "zena", "女", "女性", "女子", "여", "여성", "여자"), "F"),
    **dict.fromkeys(("м", "муж", "мужской", "мужчина", "mezczyzna", "erkek", "mand", "mies", "muz",
    "ferfi", "男", "男性", "男子", "남", "남성", "남자"), "M"),
    **dict.fromkeys(("o", "other", "u", "unspecified", "indeterminate", "intersex", "not specified",
    "prefer not to say"), None),
}  # fmt: skip

FRONTAL_VIEWS = ("PA", "AP")
LATERAL, DECUBITUS, OBLIQUE = "LATERAL", "DECUBITUS", "OBLIQUE"
VIEW_LABELS = {"PA": "PA (standing)", "AP": "AP (lying or bedside)"}  # as a person reads them
OTHER_VIEWS = {
    LATERAL: "a lateral view",
    DECUBITUS: "a lateral decubitus view",
    OBLIQUE: "a lateral or anterior oblique view",
}
VIEW_PHRASES = (
    (r"post\w*( to)? ?ant\w*", "PA"), (r"ant\w*( to)? ?post\w*", "AP"),
    ("p a", "PA"), ("a p", "AP"),
    ("dorso ?ventral", "PA"), ("ventro ?dorsal", "AP"),
    ("dv", "PA"), ("vd", "AP"),
    (r"задн\w* ?передн\w*", "PA"), (r"передн\w* ?задн\w*", "AP"),
)  # fmt: skip
VIEW_WORDS = {
    **dict.fromkeys(("pa", "wpa"), "PA"),
    **dict.fromkeys(("ap", "wap"), "AP"),
    **dict.fromkeys(("lat", "lateral", "ll", "rl", "llat", "rlat", "latl", "latr", "lateralis", "laterale", "profile",
    "perfil", "profil", "side", "seitlich", "laterolateral", "боковая", "боковой"), LATERAL),
    **dict.fromkeys(("lld", "rld", "decub", "decubitus", "decubito"), DECUBITUS),
    **dict.fromkeys(("obl", "oblique", "oblicua", "rlo", "llo", "lao", "rao", "lpo", "rpo"), OBLIQUE),
}  # fmt: skip
# of languages without blanks
PA_IN_WORDS, AP_IN_WORDS = ("后前", "後前", "背腹", "후전"), ("前后", "前後", "腹背", "전후")
LATERAL_IN_WORDS = ("侧位", "側位", "侧面", "側面", "측면")
# words of a view's name that say nothing about PA or AP
OTHER_WORDS = frozenset(
    {"frontal", "other", "unspecified", "view", "chest", "thorax", "portable", "bedside", "supine", "erect", "upright",
     "standing", "sitting", "semi", "single", "mobile", "face", "frente", "de", "прямая", "прямой"}
)  # fmt: skip
# CID 4010 "DX View": SNOMED CT and the older SNOMED RT codes of the same concepts
VIEW_CODES = {
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399067008", "R-102CD", "399173006", "R-10236", "399198007", "R-10232", "399260004", "R-10224"),
    LATERAL),
    **dict.fromkeys(("399352003", "R-10228"), LATERAL),
    **dict.fromkeys(("399312000", "R-10208", "399059000", "R-10216", "399135007", "R-10220", "399184004", "R-10238"),
    OBLIQUE),
    **dict.fromkeys(("399006002", "R-10212", "399356000", "R-40985", "399236003", "R-10234", "399038007", "R-10210"),
    OBLIQUE),
    **dict.fromkeys(("399182000", "R-102C1", "260427002", "R-40783", "399160007", "R-10204"), OBLIQUE),
}  # fmt: skip


def read_text(value: object) -> str:
    """Read a cell, form field or header value as text without blanks around it; "" for "unknown", NaN and None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    try:
        text = unicodedata.normalize("NFC", str(value)).strip(" \t\r\n\0\ufeff\u00a0")
    except Exception:  # a number with thousands of digits, say
        return "?" * (MAX_TEXT + 1)
    return "" if text.casefold() in UNKNOWN_WORDS else text


def read_age(value: object) -> float | None:
    """Read years, from 63, "63.0", "063Y", "63 years", "018M", "90+" or ">89".

    Zero years ("0", "-0.0", "000Y") and 999 are placeholders and read as None; an infant's age is a number of days,
    weeks or months, and comes out as a fraction of a year. Raises EHRError for text that is no age.
    """
    text = read_text(value).casefold().replace("−", "-")
    if not text:
        return None
    if match := TOP_CODED_AGE.fullmatch(text):
        return float(match[1] or match[2] or int(match[3]) + 1)
    match = AGE.fullmatch(text)
    if match is None or match[2].strip() not in AGE_UNITS:
        raise EHRError(f"{text!r} is not a number of years. Give it in years, or leave it unknown.")
    number, per_year = float(match[1].replace(",", ".")), AGE_UNITS[match[2].strip()]
    if number == 0 or (number >= AGE_PLACEHOLDER and set(match[1].partition(".")[0].lstrip("+")) == {"9"}):
        return None
    return number if per_year == 1 else max(YOUNGEST, round(number / per_year, 2))


def format_age(years: float) -> str:
    """Return an age as `read_age` reads it: years as a number, of an infant days or months, e.g. "4 days"."""
    if years >= INFANT_YEARS or years == int(years):
        return f"{years:g}"
    days, months = max(1, round(365.25 * years)), round(12 * years)
    if months < INFANT_MONTHS:
        return f"{days} day{'' if days == 1 else 's'}"
    return f"{months} months"


def read_date(value: object) -> date | None:
    """Read the day of 20190416, 2019-04-16, 2019.04.16 or 2019/4/16, with or without a time; None for anything else."""
    match = DATE_AND_TIME.fullmatch(read_text(value)) or DATE.fullmatch(read_text(value))
    try:
        return date(int(match[1]), int(match[3]), int(match[4])) if match else None
    except ValueError:
        return None


def age_from_dates(birth_date: object, study_date: object) -> float | None:
    """Return the whole years between birth and study, or the fraction of a year of an infant.

    Returns None where either is not known or is a placeholder: 19000101 and the like, a birth on or after the day of
    the study, and one that makes the patient older than 110.
    """
    birth, study = read_date(birth_date), read_date(study_date)
    if birth is None or study is None or birth in BIRTH_DATE_PLACEHOLDERS or study in STUDY_DATE_PLACEHOLDERS:
        return None
    years = _years_between(birth, study)
    if birth >= study or years > OLDEST_BY_BIRTH_DATE:
        return None
    return float(years) or max(YOUNGEST, round((study - birth).days / 365.25, 2))


def _years_between(birth: date, study: date) -> int:
    """Return the whole years from a birth to a study."""
    return study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day))


def is_counted_from_placeholder(age: float, birth_date: object, study_date: object) -> bool:
    """Tell whether an age is what a device counts from a placeholder birth date: 119 from 19000101 to 2019."""
    birth, study = read_date(birth_date), read_date(study_date)
    if birth is None or study is None or birth >= study or age_from_dates(birth_date, study_date) is not None:
        return False
    return birth.year <= LAST_PLACEHOLDER_YEAR and abs(age - _years_between(birth, study)) <= 1


def is_adult(age: float | None) -> bool | None:
    """Return whether a patient of this age in years is an adult; None where the age is not known."""
    return None if age is None else age >= ADULT_AGE


def read_sex(value: object) -> str | None:
    """Return "F" or "M", or None for "O", "other", "U" and what is unknown.

    Numbers mean nothing without a schema that says so. Raises EHRError for any other text.
    """
    text = read_text(value)
    words = re.sub(r"[\d_]", "", _plain_words(text))
    if not text:
        return None
    if not words or words not in SEX_WORDS:
        raise EHRError(f"{text!r} is not one of F, M. Choose one of them, or leave it unknown.")
    return SEX_WORDS[words]


def _plain_words(text: str) -> str:
    """Return a text in small letters without accents and signs, its words parted by single blanks."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    bare = unicodedata.normalize("NFC", bare.replace("ı", "i").replace("ł", "l"))
    return " ".join(re.sub(r"[\W_]+", " ", bare).split())


def read_view(value: object) -> str | None:
    """Return the view that a name says: PA, AP, LATERAL, DECUBITUS or OBLIQUE.

    None for what says nothing, such as "frontal".

    value: a term of ViewPosition or of a table in any spelling, such as "POSTERO_ANTERIOR", "AP SUPINE", "AP_PORTABLE",
    "LL", "Left lateral" or "RLO". Raises EHRError for text that names no view, or several.
    """
    text = read_text(value)
    words = re.sub(r"\b([a-z]+)\d\b", r"\1", _plain_words(text))  # PA1 is the first PA film
    if any(word in words for word in LATERAL_IN_WORDS):
        return LATERAL
    for parts, view in ((PA_IN_WORDS, "PA"), (AP_IN_WORDS, "AP")):
        if any(part in words for part in parts):
            return view
    if OTHER_WORDS.issuperset(words.split()):
        if text and not words:
            raise EHRError(f"{text!r} is not one of PA, AP. Choose one of them, or leave it unknown.")
        return None
    for phrase, view in VIEW_PHRASES:
        words = re.sub(rf"\b{phrase}\b", view.lower(), words)
    views = {VIEW_WORDS[word] for word in words.split() if word in VIEW_WORDS}
    for view in (DECUBITUS, OBLIQUE):  # a lateral decubitus film is taken AP or PA, and is no usual AP or PA film
        if view in views:
            return view
    if len(views) == 1:
        return views.pop()
    problem = "names several views" if views else "is not one of PA, AP"
    raise EHRError(f"{text!r} {problem}. Choose PA or AP, or leave it unknown.")


def read_view_codes(codes: Iterable[tuple[str, str]]) -> str | None:
    """Return the view that DICOM's ViewCodeSequence names, as `read_view` gives it; None where it says nothing.

    codes: (CodeValue, CodeMeaning) of each item. The code counts before its meaning. Raises EHRError where there are
    codes of which none is known.
    """
    codes = list(codes)
    for code, meaning in codes:
        if view := VIEW_CODES.get(read_text(code).upper().rpartition(".")[2]):
            return view
        try:
            view = read_view(meaning)
        except EHRError:
            continue
        if view:
            return view
    if any(read_text(part) for pair in codes for part in pair):
        raise EHRError("The code of the view is not a known one.")
    return None
