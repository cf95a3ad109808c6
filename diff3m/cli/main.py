"""The command `diff3m`: parses, calls, prints."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from . import benchmark
from .explain import explain
from .parser import build_parser
from .terminal import bar, detector_for, pairs, record_for, seldom


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors that a user can mend are one sentence on stderr and status 1."""
    options = build_parser().parse_args(arguments)
    try:
        return COMMANDS[options.run](options) or 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("DIFF3M_TRACEBACK"):
            raise
        expected = isinstance(error, ValueError | LookupError | RuntimeError | OSError) and str(error)
        text = error if expected else f"unexpected {type(error).__name__}; DIFF3M_TRACEBACK=1 shows where"
        print(f"diff3m {options.command}: {text}", file=sys.stderr)
        return 1


def _analyze(options) -> None:
    from ..export.files import NOTICE, analysis_to_dict, write_json, write_pictures
    from ..imaging.radiograph import read_radiograph

    film = read_radiograph(options.image)
    detector = detector_for(options)
    record, facts = record_for(film, detector, options)
    steps = tqdm(desc="analyzing", unit="step", disable=None, leave=False)

    def callback(progress) -> None:
        steps.total = progress.total
        steps.update(progress.done - steps.n)

    analysis = detector.analyze(
        film, record, noise_level=options.noise_level, steps=options.steps, seed=options.seed, callback=callback
    )
    steps.close()
    if options.json:
        write_json(options.json, analysis_to_dict(analysis, detector))
    written = write_pictures(options.out, analysis, detector.scoring) if options.out else []
    _print_analysis(analysis, detector, facts)
    for path in written:
        print(f"wrote {path}")
    print(NOTICE)


def _print_analysis(analysis, detector, facts: dict) -> None:
    if analysis.score is not None:
        against = f"{analysis.compared_with} " if analysis.compared_with != "any" else ""
        print(f"anomaly score  {analysis.score:+.2f}  (0 = an average normal film, in standard deviations)")
        print(
            f"percentile     {analysis.whole_percentile}  (of {analysis.normals} normal {against}films, {analysis.whole_percentile} % score lower)"
        )
    for group, weights in analysis.attention.items():
        print(f"attention over {group}, summing to 1")
        for name, weight in weights.items():
            feature = detector.schema[name]
            origin = " (from the header)" if name in facts else ""
            print(f"  {feature.label:<20} {weight:.3f}  {feature.describe(analysis.record[name])}{origin}")
    for note in analysis.notes:
        print(f"note: {note}")
    print(
        f"{detector.config.name}, {sum(analysis.seconds.values()):.2f} s, {detector.precision} on {detector.device.type}"
    )


def _evaluate(options) -> None:
    from ..evaluation.run import evaluate

    metrics = evaluate(
        detector_for(options), options.manifest, options.out, options.limit, options.batch_size, bar("evaluating"),
        noise_level=options.noise_level, steps=options.steps, seed=options.seed,
    )  # fmt: skip
    print(f"{metrics['films']} labelled films: {metrics['normal']} normal, {metrics['abnormal']} abnormal")
    if metrics["unreadable"]:
        print(f"{len(metrics['unreadable'])} of {metrics['rows']} rows could not be scored; scores.csv says why")
    _print_metrics("all", metrics)
    for label, part in metrics["labels"].items():
        _print_metrics(label, part)
    print(f"wrote {Path(options.out) / 'metrics.json'} and scores.csv")


def _print_metrics(name: str, metrics: dict) -> None:
    def show(key: str) -> str:
        if metrics[key] is None:
            return "-"
        low, high = metrics[f"{key}_interval"]
        return f"{metrics[key]:.3f} [{low:.3f}, {high:.3f}]"

    print(f"{name:>16}: AUROC within view {show('auroc_within_view')}, views mixed {show('auroc')}")
    print(
        f"{'':>16}  average precision within view {show('average_precision_within_view')}, views mixed {show('average_precision')}"
    )


def _train(options) -> None:
    from ..training.config import TrainingConfig
    from ..training.loop import train

    config = TrainingConfig.from_yaml(
        options.config, manifest=options.manifest, validation=options.validation, out=options.out, steps=options.steps
    )
    bars: dict[str, tqdm] = {}

    def report(progress) -> None:
        unit = "step" if progress.stage == "training" else "film"
        if progress.stage not in bars:
            behind = progress.done  # a resumed run's earlier steps
            bars[progress.stage] = tqdm(
                desc=progress.stage, total=progress.total, unit=unit, initial=behind, **seldom()
            )
        drawn = bars[progress.stage]
        if not math.isnan(progress.noise):
            said = f"noise {progress.noise:.4f}, masked {progress.masked_pixels:.4f}, {progress.films_per_second:.1f} films/s"
            drawn.set_postfix_str(said, refresh=False)
        drawn.update(progress.done - drawn.n)

    folder = train(config, report=report)
    if int(os.environ.get("RANK", 0)) != 0:  # of several processes the first one calibrates
        return
    for drawn in bars.values():
        drawn.close()
    print(f"wrote {folder}")
    if config.validation:
        from ..detector import Detector
        from ..evaluation.run import calibrate_checkpoint

        scoring = calibrate_checkpoint(Detector.from_pretrained(folder), config.validation, report=bar("calibrating"))
        print(f"calibrated on {dict(scoring.calibration)['any'].count} normal films of {config.validation}")


def _head(options) -> None:
    from ..checkpoint.folder import save_head
    from ..detector import Detector
    from ..scoring.anomaly_head import HeadConfig
    from ..training.head import HeadStep, HeadTraining, train_head

    detector, drawn = Detector.from_pretrained(options.checkpoint), bar("teaching the head")
    recent: list[HeadStep] = []

    def report(step: HeadStep) -> None:
        drawn(step.step, options.steps)
        recent.append(step)
        if step.step % REPORTED == 0 or step.step == options.steps:
            last = recent[-REPORTED:]
            errors = (
                sum(getattr(one, name) for one in last) / len(last) for name in ("map_error", "film_error", "right")
            )
            print(
                "step {}: error of the map {:.4f}, of the film {:.4f}, films judged right {:.2f}".format(
                    step.step, *errors
                )
            )

    head = train_head(
        detector,
        options.manifest,
        HeadTraining(options.steps, seed=options.seed),
        HeadConfig(members=options.members),
        report,
    )
    save_head(detector.checkpoint.folder, detector.config, head)
    print(f"wrote {detector.checkpoint.folder}; a score that uses the head must be chosen and calibrated anew")


def _calibrate(options) -> None:
    from ..detector import Detector
    from ..evaluation.run import calibrate_checkpoint

    detector = Detector.from_pretrained(options.checkpoint)
    if options.fit:
        _calibrate_fit(detector, options.manifest)
        return
    scoring = calibrate_checkpoint(detector, options.manifest, report=bar("calibrating"))
    for view, entry in scoring.calibration:
        print(f"{view:>4}: {entry.count} normal films")


def _calibrate_fit(detector, manifest: str) -> None:
    from ..checkpoint.folder import write_config
    from ..data.manifest import normal_cases
    from ..explain import calibrate_fit, calibrate_usual
    from ..explain.calibration import USUAL_FILMS

    rows, folder = normal_cases(manifest, detector.schema), detector.checkpoint.folder

    def cases():
        return (detector.case(row.path, row.record) for row in rows)

    calibrating, usual = bar("calibrating"), bar("what is usual")
    calibration = calibrate_fit(detector, cases(), report=lambda done: calibrating(done, len(rows)))
    detector = detector.with_config(replace(detector.config, fit=calibration.fit, prior_fit=calibration.prior_fit))
    write_config(folder, detector.config)
    for fit in calibration.fit:
        print(f"{fit.group}: {fit.count} normal films, noise level {fit.level}")
    fits = calibrate_usual(detector, cases(), report=lambda done: usual(done, min(len(rows), USUAL_FILMS)))
    write_config(folder, replace(detector.config, prior_fit=fits))
    for fit in fits:
        if fit.usual:
            print(f"{fit.group}: moves normal by {fit.usual[len(fit.usual) // 2]:.2f} in half of the people")


REPORTED = 50  # steps that a line of the head's training averages


def _prepare_folder(options) -> None:
    from ..data.prepare.folder import manifest_from_table

    where = {name: set(values.split(",")) for name, values in pairs(options.where, "--where").items()}
    _print_report(
        manifest_from_table(
            Path(options.table), Path(options.out), pairs(options.column, "--column"), where, options.decode
        ),
        options.out,
    )


def _prepare_mimic(options) -> None:
    from ..data.prepare.mimic import prepare_mimic

    ed = Path(options.ed) if options.ed else None
    _print_report(
        prepare_mimic(Path(options.cxr), Path(options.iv), Path(options.out), ed, options.decode), options.out
    )


def _prepare_chexpert(options) -> None:
    from ..data.prepare.open_sets import prepare_chexpert

    _print_report(prepare_chexpert(Path(options.dir), Path(options.out), options.seed, options.decode), options.out)


def _prepare_nih(options) -> None:
    from ..data.prepare.open_sets import prepare_nih

    _print_report(prepare_nih(Path(options.dir), Path(options.out), options.seed, options.decode), options.out)


def _print_report(report, out: str) -> None:
    for line in report.lines():
        print(line)
    print(f"wrote {out} and {Path(out).stem}-report.json")


def _import_released(options) -> None:
    import torch

    from ..checkpoint.folder import load_released, save_checkpoint

    checkpoint = load_released(options.weights, options.config)
    save_checkpoint(options.out, checkpoint.config, checkpoint.network, torch.float32)
    print(f"wrote {options.out}")
    if checkpoint.config.training["ehr_constants"] != "given":
        print(
            "note: the released weights do not hold the mean and std of BMI, pressures, height and weight; general adult values stand in."
        )
        print(
            '      Put "ehr_mean" and "ehr_std" (kg/m², mmHg, mmHg, inches, lb) of your training set into the JSON to be exact.'
        )


def _verify_released(options) -> int:
    from ..released.verify import verify_released

    differences = verify_released(options.stem)
    print(f"{'tensor':<24} {'largest difference':>18} {'scale':>10}")
    for difference in differences:
        verdict = "ok" if difference.within(options.tolerance) else "DIFFERS"
        print(f"{difference.name:<24} {difference.largest:>18.3e} {difference.scale:>10.3g}  {verdict}")
    return 0 if all(difference.within(options.tolerance) for difference in differences) else 1


def _phantom(options) -> None:
    from ..data.phantom import write_cohort

    table = write_cohort(
        Path(options.out),
        options.n,
        options.size,
        options.seed,
        options.lesions,
        pairs(options.counterfactual, "--counterfactual"),
        options.ignored,
        bar("rendering"),
    )
    normal = int((table["label"] == "normal").sum())
    print(f"wrote {Path(options.out) / 'manifest.csv'}: {normal} normal phantoms, {len(table) - normal} with a lesion")


COMMANDS: dict[str, Callable] = {
    "analyze": _analyze,
    "explain": explain,
    "evaluate": _evaluate,
    "train": _train,
    "head": _head,
    "calibrate": _calibrate,
    "prepare folder": _prepare_folder,
    "prepare mimic": _prepare_mimic,
    "prepare chexpert": _prepare_chexpert,
    "prepare nih": _prepare_nih,
    "phantom": _phantom,
    "benchmark phantoms": benchmark.phantoms,
    "benchmark films": benchmark.films,
    "benchmark explanations": benchmark.explanations,
    "import-released": _import_released,
    "verify-released": _verify_released,
}
