"""The Markdown tables of a comparison on real films."""

from __future__ import annotations

from diff3m.evaluation.films_table import format_tables


def _metrics(within: float | None) -> dict:
    interval = None if within is None else [0.8, 0.95]
    return {
        "auroc_within_view": within,
        "auroc_within_view_interval": interval,
        "auroc": 0.75,
        "average_precision_within_view": within,
        "average_precision_within_view_interval": interval,
        "average_precision": 0.7,
    }


def _comparison(within: float | None) -> dict:
    methods = {"PCA": {"mse": _metrics(within)}, "ours, true record": {"score": _metrics(within)}}
    gains = {
        "over PCA (mse)": {"difference": 0.1, "interval": [0.05, 0.2]},
        "over unknown record": {"difference": None, "interval": None},
    }
    place = {
        "pointing_game": {"mean": 0.7, "interval": [0.6, 0.8]},
        "average_precision": {"mean": 0.5, "interval": [0.4, 0.6]},
    }
    localization = {"other_abnormal": {"films": 9, "chance": 0.2, "size": place, "brighter": place}}
    return {
        "films": 171, "stopped": 2, "unreadable": 0, "accepted": 0,
        "parts": {"all": {"other_abnormal": {"methods": methods, "difference": gains}}, "B": {}},
        "localization": {"PCA": None, "ours, true record": localization},
        "seconds_a_film": {"PCA": 0.001, "ours, true record": 0.7},
    }  # fmt: skip


def test_films_that_were_left_out_are_counted():
    assert format_tables(_comparison(0.9)).startswith("171 films. 2 more were stopped by the gate, 0 could not be read")
    assert format_tables({**_comparison(0.9), "stopped": 0, "accepted": 3}).startswith(
        "171 films, 3 of which the gate stops and that were judged knowingly.\n"
    )


def test_a_mixed_auroc_stands_beside_the_one_within_view():
    text = format_tables(_comparison(0.9))
    assert "| PCA | mse | 0.900 [0.800, 0.950] | 0.750 | 0.900 [0.800, 0.950]; 0.700 |" in text
    assert (
        "| other abnormal | over PCA (mse) | +0.100 [+0.050, +0.200] |" in text
        and "| other abnormal | over unknown record | – |" in text
    )
    assert "| ours, true record | 9 other abnormal | 0.70 [0.60, 0.80] |" in text
    assert text.endswith("| PCA | under 0.01 |\n| ours, true record | 0.70 |\n")
    widths = {line.count("|") for line in text.split("\n\n")[1].splitlines()}
    assert len(widths) == 1 and "Part B" not in text, "a part without abnormal films has no table"


def test_what_is_not_known_is_a_dash():
    assert "| PCA | mse | – | 0.750 | –; 0.700 |" in format_tables(_comparison(None))
