"""Numbers, heights and weights as people write them: decimal commas, metric and imperial units, typographic quotes."""

from __future__ import annotations

import re
import unicodedata

CM_PER_INCH = 2.54
KG_PER_POUND = 0.45359237
POUNDS_PER_STONE = 14

# straight, curly, prime, accent and full-width forms, so that 5’10” and 5′10″ read as 5'10"
QUOTES = str.maketrans(dict.fromkeys("’‘‛′ʹʼˈ´`＇", "'") | dict.fromkeys("”“‟„″ʺˮ〃＂", '"'))
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d{1,2}")  # "62,5"; "1,000" may be a thousand
WRITTEN_FRACTION = re.compile(r"(?<=\d)[ -]+([13])/([24])\b")  # 5' 11 1/2"
FRACTIONS = {"½": ".5", "¼": ".25", "¾": ".75"}
NUMBER = r"(\d+(?:[.,]\d+)?|[.,]\d+)"
FEET = re.compile(rf"{NUMBER}\s*(?:'|ft|feet|foot)\.?\s*,?\s*(?:{NUMBER}\s*(?:\"|''|inches|inch|ins|in)?\.?)?")
METERS_AND_CM = re.compile(r"(\d)\s*m\s*(\d{2})(?:\s*cm)?")
STONES = re.compile(rf"{NUMBER}\s*(?:stones|stone|st)\.?\s*,?\s*(?:{NUMBER}\s*(?:pounds|pound|lbs|lb)?\.?)?")
WITH_UNIT = re.compile(rf"{NUMBER}\s*([^\W\d_]+|\"|'')\.?")
FACTORS = {
    "cm": dict.fromkeys(
        ("cm", "cms", "centimeter", "centimeters", "centimetre", "centimetres", "см", "厘米", "公分"), 1.0
    )
    | dict.fromkeys(("m", "meter", "meters", "metre", "metres", "mt", "mts", "м", "米"), 100.0)
    | dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 0.1)
    | dict.fromkeys(("in", "ins", "inch", "inches", '"', "''"), CM_PER_INCH),
    "kg": dict.fromkeys(
        (
            "kg",
            "kgs",
            "kilo",
            "kilos",
            "kilogram",
            "kilograms",
            "kilogramme",
            "kilogrammes",
            "kilogramm",
            "кг",
            "公斤",
            "千克",
        ),
        1.0,
    )
    | dict.fromkeys(("g", "gr", "gram", "grams"), 0.001)
    | dict.fromkeys(("lb", "lbs", "pound", "pounds"), KG_PER_POUND),
}


def read_number(text: str) -> float:
    """Return a plain number, with a decimal point or a decimal comma ("62,5"). Raises ValueError for anything else."""
    plain = text.strip().replace("−", "-")
    if "_" in plain:  # Python's own 1_000
        raise ValueError(f"{text!r} is not a number")
    return float(plain.replace(",", ".") if DECIMAL_COMMA.fullmatch(plain) else plain)


def read_quantity(text: str, unit: str) -> float | None:
    """Return a height or weight from text that names its unit.

    text: such as 5'10", 5’10”, 5 ft 10 in, 70 in, 1.78 m, 1m78, 154 lb, 11 st 4 lb.
    unit: "cm" or "kg", the unit of the result.
    Returns None for text without a unit, of another quantity, or for another `unit`.
    """
    if unit not in FACTORS:
        return None
    text = WRITTEN_FRACTION.sub(lambda part: f"{int(part[1]) / int(part[2]):g}".lstrip("0"), text)
    text = unicodedata.normalize("NFKC", text.translate(QUOTES | str.maketrans(FRACTIONS))).strip().lower()
    if unit == "cm" and (match := FEET.fullmatch(text)):
        return (12 * _number(match[1]) + _number(match[2])) * CM_PER_INCH
    if unit == "cm" and (match := METERS_AND_CM.fullmatch(text)):
        return 100 * _number(match[1]) + _number(match[2])
    if unit == "kg" and (match := STONES.fullmatch(text)):
        return (POUNDS_PER_STONE * _number(match[1]) + _number(match[2])) * KG_PER_POUND
    match = WITH_UNIT.fullmatch(text)
    factor = FACTORS[unit].get(match[2]) if match else None
    return None if match is None or factor is None else _number(match[1]) * factor


def _number(text: str | None) -> float:
    return float((text or "0").replace(",", "."))
