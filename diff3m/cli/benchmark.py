"""The commands `diff3m benchmark …`: call a measurement, print what it found."""

from __future__ import annotations

from pathlib import Path

from ..evaluation.format import interval, known
from .terminal import detector_for, stage_bars


def phantoms(options) -> None:
    from ..evaluation.phantoms import benchmark_phantoms
    from ..evaluation.realism import realism_of

    detector = detector_for(options)
    found = benchmark_phantoms(detector, options.out, options.normals, options.each, options.people, stage_bars())
    for record, kinds in found["detection"].items():
        print(f"AUROC, {record} record: " + ", ".join(f"{kind} {entry['auroc']:.3f}" for kind, entry in kinds.items()))
    for other, kinds in found["gain"].items():
        print(
            f"AUROC, true above {other}: "
            + ", ".join(f"{kind} {interval(entry, 'difference')}" for kind, entry in kinds.items())
        )
    for record, entry in found["localization"].items():
        print(
            f"pixels, {record} record: average precision {entry['average_precision']['all']:.3f}, best Dice {entry['best_dice']['all']:.3f}"
        )
    for name, entry in found["counterfactual"]["features"].items():
        print(f"counterfactual {name}: correlation {interval(entry, 'correlation')}, control {entry['control']:+.3f}")
    if options.films:
        distances = realism_of(options.films, detector.config.preprocessing, Path(options.out))
        print(
            f"phantoms against real films: histograms {distances['histogram_distance']:.3f}, spectra {distances['spectrum_distance']:.3f}"
        )
    print(f"wrote {Path(options.out) / 'phantoms.json'}")


def films(options) -> None:
    from ..evaluation.film_comparison import benchmark_films

    simplex = detector_for(options, options.simplex) if options.simplex else None
    asked = (
        options.manifest,
        options.train,
        options.out,
        options.boxes,
        options.halves,
        simplex,
        stage_bars(),
        options.baselines,
        options.released_stride,
    )
    found = benchmark_films(detector_for(options), *asked)
    for part, labels in found["parts"].items():
        for label, entry in labels.items():
            print(f"{label} against normal, films of part {part}: AUROC within view (views mixed), seconds a film")
            for name, scores in entry["methods"].items():
                listed = ", ".join(
                    f"{score} {known(values['auroc_within_view'])} ({known(values['auroc'])})"
                    for score, values in scores.items()
                )
                print(f"  {name:<24} {listed}, {found['seconds_a_film'][name]:.2f} s")
            for name, difference in entry["difference"].items():
                print(f"  ours with the true record {name}: {interval(difference, 'difference')}")
    for name, labels in found["localization"].items():
        for label, entry in (labels or {}).items():
            for side in ("size", "brighter"):
                hits, precision = (entry[side][key]["mean"] for key in ("pointing_game", "average_precision"))
                print(
                    f"{name}, {label}, heat by {side}: pointing game {hits:.2f}, box average precision {precision:.2f}; chance {entry['chance']:.2f}"
                )
    print(f"wrote {Path(options.out) / 'films.json'}, films.md, scores.csv and films.svg")


def explanations(options) -> None:
    from ..evaluation.explanation_truth import METHODS, benchmark_explanations

    detector, ignored = detector_for(options), None
    if options.ignored:
        source, name = options.ignored
        ignored = detector_for(options, source), name
    found = benchmark_explanations(
        detector, options.out, options.each, options.with_oracle, ignored=ignored, report=stage_bars()
    )
    for name in METHODS:
        top = ", ".join(f"{group} {entry['share']:.2f}" for group, entry in found[name]["top_1"].items())
        rank = "".join(
            f"; rank correlation with the oracle, {kind} phantoms {interval(found[name]['rank_correlation'][kind], 'value')}"
            for kind in found[name]["rank_correlation"]
        )
        print(f"{name}: top-1 {top}{rank}")
    for feature, entry in found["influence"].items():
        print(f"influence of {feature}: sign agreement with the oracle {interval(entry, 'agreement')}")
    if ignored:
        entry = found["ignored"]
        print(
            f"attribution of the ignored {entry['feature']}: {interval(entry, 'mean')}, mean size {entry['size']:.2f}"
        )
    print(f"wrote {Path(options.out) / 'explanations.json'}")
