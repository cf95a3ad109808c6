"""The command `diff3m explain`: asks for every explanation in turn and prints each as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from .terminal import detector_for, pairs, record_for

EXPLAINED = {
    "misfit": "misfit of film and record (sum of squared z-scores)",
    "expectation": "distance of what is expected of this film from what the whole record makes expect (sum of squared z-scores)",
    "prior": "the same distance before the film is seen",
    "score": "anomaly score",
}
Found = TypeVar("Found")


def explain(options) -> int:
    """Print and write all explanations. One that cannot be given is said on stderr and makes the status 1; the others are not lost. What is asked
    wrongly is refused before anything is measured."""
    from .. import explain as explaining
    from ..export.files import NOTICE, explanation_to_dict, write_explanation_pictures, write_json
    from ..imaging import film_aspect, read_film

    film = read_film(options.image, options.accept)
    for note in film.notes:
        print(f"note: {note}")
    detector = detector_for(options)
    record = detector.schema.parse(record_for(film, detector, options)[0])
    changes = [
        change for item in options.change for change in pairs([item], "--change").items()
    ]  # one by one: a name may be given twice
    others = [{}, *(explaining.other_record(detector.schema, record, *change) for change in changes)]
    scored, failures, wanted = bool(detector.scoring.calibration), [], options.target.split(",")
    for name in options.curve:
        explaining.curve_feature(detector.schema, name)
    for target in wanted:
        explaining.check_target(target)
    if options.box is not None:
        explaining.check_box(options.box)

    def asked(ask: Callable[[], Found], tell: Callable[[Found], None]) -> Found | None:
        try:
            found = ask()
        except ValueError as error:
            if str(error) not in failures:
                failures.append(str(error))
                print(f"diff3m explain: {error}", file=sys.stderr)
            return None
        tell(found)
        return found

    attention = asked(lambda: explaining.attention_by_group(detector, film, record), _tell_attention)
    targets, gradients = {}, None
    for target in wanted:
        found = asked(partial(explaining.attribute_target, detector, film, record, target, targets), _tell_target)
        if found is not None:
            targets[target] = found
    if "misfit" in targets:
        gradients = asked(
            lambda: explaining.integrated_gradients(detector, film, record), lambda found: _tell_gradients(found, targets["misfit"])
        )  # fmt: skip
    bits = asked(lambda: explaining.information(detector, film, record), _tell_information)
    region = asked(lambda: explaining.attribute_region(detector, film, record, options.box), _tell_region)
    drawn = asked(
        lambda: explaining.counterfactual(detector, film, record, others),
        lambda found: _tell_counterfactual(found, options.change),
    )
    spread = asked(lambda: explaining.uncertainty(detector, film, record), _tell_uncertainty)
    curves = []
    for name in options.curve:
        drawing = {"strip": bool(options.out), "score": scored, "box": options.box}
        curve = asked(
            lambda name=name, drawing=drawing: explaining.influence(detector, film, record, name, **drawing),
            _tell_influence,
        )
        curves += [] if curve is None else [curve]
    if options.json:
        write_json(
            options.json,
            {
                **explanation_to_dict(
                    detector, record, targets, curves, bits, region, spread, gradients, attention, drawn
                ),
                "notes": list(film.notes),
                "accepted": list(film.accepted),
            },
        )
        print(f"wrote {options.json}")
    if options.out:
        aspect = film_aspect(film, detector.config.preprocessing)
        for path in write_explanation_pictures(Path(options.out), aspect, bits, spread, drawn, curves):
            print(f"wrote {path}")
    print(NOTICE)
    return 1 if failures else 0


def _listed(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def _tell_attention(found) -> None:
    print(f"attention (where the model looked in the record, not what mattered): {_listed(found, '.2f')}")


def _tell_target(found) -> None:
    from ..explain import in_people

    print(
        f"{EXPLAINED[found.target]}: {found.known:+.2f} with the record, {found.unknown:+.2f} without; what each part of the record adds:"
    )
    for group, value in found.groups.items():
        print(f"  {group:<16} {value:+.2f}   (left out alone: {found.ablation[group]:+.2f})")
    if found.parts and found.parts.keys() != found.groups.keys():
        print(f"  by single values: {_listed(found.parts, '+.2f')}")
    if found.unusual:
        shares = ", ".join(f"{group} in {in_people(share)}" for group, share in found.unusual.items())
        print(f"  moves normal more than: {shares}; {found.stands_out or 'nothing'} stands out")
    for fit in found.fits if found.target == "misfit" else ():
        shift = "" if fit.shift is None else f", like {fit.feature.label.lower()} {fit.shift:+.3g} {fit.feature.unit}"
        print(
            f"  fit of {fit.group}: {fit.z:+.1f} standard deviations{shift}{'' if fit.known else ' (not in the record)'}"
        )


def _tell_gradients(found, misfit) -> None:
    from ..explain import agreements

    print(
        f"integrated gradients of the misfit: {_listed(found.groups, '+.2f')} (off the whole change by {found.gap:+.2f})"
    )
    for name, one in agreements(misfit, found).items():
        said = "agrees" if one.whole else "does not wholly agree"
        said = (
            f"{said} with the Shapley values in sign and order"
            if one.compared
            else "has nothing to be compared in: no part changes the misfit by 1"
        )
        print(f"  {name} {said}")


def _tell_information(found) -> None:
    print(
        f"information of the record about this film: {found.bits:.1f} bits; lost without one group: {_listed(found.groups, '.1f')}"
    )


def _tell_region(found) -> None:
    top, left, bottom, right = found.box
    added = ", ".join(f"{group} {value:+.1%}" for group, value in found.groups.items())
    print(f"region from {top:.0%} to {bottom:.0%} of the height, {left:.0%} to {right:.0%} of the width:")
    print(
        f"  mean residual {found.known:+.1%} of the grey range, {found.unknown:+.1%} without the record; added by {added}"
    )


def _tell_counterfactual(found, changes) -> None:
    for name, difference in zip(["nothing known", *changes], found.differences, strict=True):
        print(
            f"normal under another record ({name}): differs by {abs(difference).mean():.2%} of the grey range on average"
        )


def _tell_uncertainty(found) -> None:
    print(
        "mean z-score by noise level: " + ", ".join(f"{level}: {value:+.2f}" for level, value in found.by_level.items())
    )
    print("score by seed: " + ", ".join(f"{seed}: {value:+.2f}" for seed, value in found.by_seed.items()))
    print(f"heat map: standard deviation over noise levels {found.heat_spread.mean():.1%} of the grey range on average")


def _tell_influence(curve) -> None:
    told = {
        "misfit": (curve.misfit, ".1f"),
        "residual of the region": (curve.region, "+.1%"),
        "score": (curve.score, "+.2f"),
    }
    for name, (levels, form) in told.items():
        if levels is not None:
            points = ", ".join(
                f"{value:.4g}: {level:{form}}" for value, level in zip(curve.values, levels, strict=True)
            )
            print(f"{name} by {curve.feature}: {points}")
