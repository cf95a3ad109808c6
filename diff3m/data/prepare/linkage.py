"""Linking films with measurements of other days (docs/method.md, "Data").

The linked value is the mean of the patient's records at the smallest distance in days from the film, up to 90 days;
where a day before and a day after the film are equally near, the records of both count.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

WINDOW_DAYS = 90
# 2180-12-31 or 21801231 (with .0 in a column of floats), and perhaps a time
MOMENT = r"\s*(\d{4}-\d{2}-\d{2}|\d{8})(?:\.0)?(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?\s*"


def link_nearest(films: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Return for each film the mean of the patient's nearest records, and their distance in days.

    films: columns patient (int) and day (int, days since any epoch). records: columns patient, day and value.
    Returns columns value and days, NaN without a record within `WINDOW_DAYS`, indexed as `films`. Sorted merges need
    time n log n and memory for a few columns of either table.
    """
    days = (
        records.dropna(subset=["value"])
        .groupby(["day", "patient"], sort=True)["value"]
        .agg(["sum", "count"])
        .reset_index()
    )
    film_days = films[["patient", "day"]].drop_duplicates().sort_values("day", kind="stable")
    days = days.assign(at=days["day"])
    before = pd.merge_asof(film_days, days, on="day", by="patient", direction="backward", tolerance=WINDOW_DAYS)
    after = pd.merge_asof(
        film_days, days, on="day", by="patient", direction="forward", tolerance=WINDOW_DAYS, allow_exact_matches=False
    )
    back, ahead = before["day"] - before["at"], after["at"] - after["day"]  # NaN where there is none
    use_before = back.notna() & ~(ahead < back)
    use_after = ahead.notna() & ~(back < ahead)
    total = before["sum"].where(use_before, 0.0) + after["sum"].where(use_after, 0.0)
    count = before["count"].where(use_before, 0.0) + after["count"].where(use_after, 0.0)
    off = back.where(use_before, ahead.where(use_after))
    values = film_days.assign(value=(total / count.where(count > 0, np.nan)).to_numpy(), days=off.to_numpy())
    links = films[["patient", "day"]].merge(values, on=["patient", "day"], how="left")[["value", "days"]]
    return links.set_axis(films.index)


def parse_days(dates: pd.Series) -> pd.Series:
    """Return dates as whole days since 1970; <NA> for other values.

    dates: text or numbers like 21801231 or 2180-12-31, with or without a time.
    """
    digits = dates.astype("string").str.extract(f"^{MOMENT}$")[0].str.replace("-", "", regex=False)
    return (
        (pd.to_datetime(digits, format="%Y%m%d", errors="coerce") - pd.Timestamp(0)) // pd.Timedelta(days=1)
    ).astype("Int64")


def parse_seconds(moments: pd.Series) -> pd.Series:
    """Return moments, text like 2180-12-31 14:30:00, as whole seconds since 1970; <NA> for other values."""
    text = moments.astype("string")
    times = pd.to_datetime(
        text.where(text.str.fullmatch(MOMENT).fillna(False)).str.strip(), format="ISO8601", errors="coerce"
    )
    return ((times - pd.Timestamp(0)) // pd.Timedelta(seconds=1)).astype("Int64")
