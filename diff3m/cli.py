"""The command `diff3m`: parses, calls, prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

# the plain words of the paper's features; any feature of a checkpoint's schema can be given as --ehr NAME=VALUE
EHR_FLAGS = {
    "age": ("age", "years"),
    "sex": ("sex", "F or M"),
    "view": ("view", "PA or AP"),
    "bmi": ("bmi", "kg/m²; follows from height and weight"),
    "systolic": ("systolic_mmhg", "mmHg"),
    "diastolic": ("diastolic_mmhg", "mmHg"),
    "height-cm": ("height_cm", "cm"),
    "weight-kg": ("weight_kg", "kg"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors that a user can mend are one sentence on stderr and status 1."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options) or 0
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


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(prog="diff3m", description="Anomaly detection on chest X-rays, conditioned on the patient's record.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_analyze(commands)
    _add_evaluate(commands)
    _add_train(commands)
    _add_calibrate(commands)
    _add_prepare(commands)
    _add_released(commands)
    return parser


def _command(commands, name: str, run: Callable, help_text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint", default=None, help="folder, shipped name or Hub id (default: real-films)")
    command.add_argument("--device", default=None, help="cpu, cuda, … (default: a GPU if there is one)")
    command.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    command.add_argument("--steps", type=int, default=None, help="DDIM steps each way (default: the checkpoint's)")
    command.add_argument("--noise-level", type=int, default=None, help="noise level of the shown reconstruction, 1 to 1000")
    command.add_argument("--seed", type=int, default=0)


def _detector(options):
    from .detector import DEFAULT_CHECKPOINT, Detector

    return Detector.from_pretrained(options.checkpoint or DEFAULT_CHECKPOINT, device=options.device, precision=options.precision)


def _bar(label: str) -> Callable[[int, int], None]:
    """A report(done, total) that draws a progress bar on a terminal's stderr."""
    bar = tqdm(desc=label, unit="film", disable=None, leave=False)

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return report


def _add_analyze(commands) -> None:
    command = _command(commands, "analyze", _analyze, "Analyze one radiograph (DICOM, PNG, JPEG, WebP or TIFF).")
    command.add_argument("image")
    for flag, (feature, text) in EHR_FLAGS.items():
        command.add_argument(f"--{flag}", dest=f"ehr_{feature}", default=None, metavar=flag.split("-")[0].upper(), help=text)
    command.add_argument("--ehr", action="append", default=[], metavar="NAME=VALUE", help="any feature of the checkpoint's schema")
    command.add_argument("--no-header", action="store_true", help="ignore age, sex, view, height and weight in a DICOM header")
    command.add_argument("--json", default=None, metavar="FILE", help="write score, percentile, attention and settings")
    command.add_argument("--out", default=None, metavar="DIR", help="write film, reconstruction, residual and heat map as PNG")
    _model_options(command)


def _analyze(options) -> None:
    from .export import NOTICE, analysis_to_dict, write_json, write_pictures
    from .radiograph import read_radiograph

    film = read_radiograph(options.image)
    detector = _detector(options)
    given = {feature: getattr(options, f"ehr_{feature}") for feature, _ in EHR_FLAGS.values()}
    given = {feature: value for feature, value in given.items() if value is not None} | _pairs(options.ehr, "--ehr")
    unknown = [name for name in given if name not in detector.schema]
    if unknown:
        raise ValueError(f"This checkpoint has no feature {', '.join(unknown)}; it knows {', '.join(detector.schema.names)}.")
    facts = {} if options.no_header else {name: value for name, value in film.facts.items() if name in detector.schema and name not in given}
    bar = tqdm(desc="analyzing", unit="step", disable=None, leave=False)

    def callback(progress) -> None:
        bar.total = progress.total
        bar.update(progress.done - bar.n)

    analysis = detector.analyze(film, {**facts, **given}, noise_level=options.noise_level, steps=options.steps, seed=options.seed, callback=callback)
    bar.close()
    if options.json:
        write_json(options.json, analysis_to_dict(analysis, detector))
    written = write_pictures(options.out, analysis, detector.scoring.heat_normal) if options.out else []
    _print_analysis(analysis, detector, facts)
    for path in written:
        print(f"wrote {path}")
    print(NOTICE)


def _print_analysis(analysis, detector, facts: dict) -> None:
    if analysis.score is not None:
        against = f"{analysis.compared_with} " if analysis.compared_with != "any" else ""
        print(f"anomaly score  {analysis.score:+.2f}  (0 = an average normal film, in standard deviations)")
        print(f"percentile     {analysis.percentile:.0f}  (of {analysis.normals} normal {against}films, {analysis.percentile:.0f} % score lower)")
    for group, weights in analysis.attention.items():
        print(f"attention over {group}, summing to 1")
        for name, weight in weights.items():
            feature = detector.schema[name]
            origin = " (from the header)" if name in facts else ""
            print(f"  {feature.label:<20} {weight:.3f}  {feature.describe(analysis.record[name])}{origin}")
    for note in analysis.notes:
        print(f"note: {note}")
    print(f"{detector.config.name}, {sum(analysis.seconds.values()):.2f} s, {detector.precision} on {detector.device.type}")


def _pairs(items: Sequence[str], flag: str) -> dict[str, str]:
    """["a=b", …] → {"a": "b"}."""
    pairs = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise ValueError(f"{flag} takes NAME=VALUE, got {item!r}")
        pairs[name] = value
    return pairs


def _add_evaluate(commands) -> None:
    command = _command(commands, "evaluate", _evaluate, "Score a manifest; write metrics.json and scores.csv.")
    command.add_argument("--manifest", required=True, metavar="CSV")
    command.add_argument("--out", required=True, metavar="DIR")
    command.add_argument("--limit", type=_positive, default=None, metavar="N", help="only the first N rows")
    command.add_argument("--batch-size", type=_positive, default=16)
    _model_options(command)


def _evaluate(options) -> None:
    from .evaluation.run import evaluate

    metrics = evaluate(
        _detector(options), options.manifest, options.out, options.limit, options.batch_size, _bar("evaluating"),
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

    print(f"{name:>16}: AUROC within view {show('auroc_within_view')}, views mixed {show('auroc')}, average precision {show('average_precision')}")


def _add_train(commands) -> None:
    command = _command(commands, "train", _train, "Train a checkpoint, or go on with one, as a YAML file says.")
    command.add_argument("config", metavar="CONFIG.yaml")
    for name in ("manifest", "validation", "out"):
        command.add_argument(f"--{name}", default=None, help=f"instead of the file's `{name}`")
    command.add_argument("--steps", type=int, default=None, help="instead of the file's `steps`")


def _train(options) -> None:
    from .training.config import TrainingConfig
    from .training.loop import train

    config = TrainingConfig.from_yaml(options.config, manifest=options.manifest, validation=options.validation, out=options.out, steps=options.steps)
    bars: dict[str, tqdm] = {}

    def report(progress) -> None:
        unit = "step" if progress.stage == "training" else "film"
        if progress.stage not in bars:
            bars[progress.stage] = tqdm(desc=progress.stage, total=progress.total, unit=unit)
        bar = bars[progress.stage]
        bar.update(progress.done - bar.n)
        if progress.stage == "training":
            bar.set_postfix_str(f"noise {progress.noise:.4f}, masked {progress.masked_pixels:.4f}, {progress.films_per_second:.1f} films/s")

    folder = train(config, report=report)
    for bar in bars.values():
        bar.close()
    print(f"wrote {folder}")
    if config.validation:
        from .detector import Detector
        from .evaluation.run import calibrate_checkpoint

        scoring = calibrate_checkpoint(Detector.from_pretrained(folder), config.validation, report=_bar("calibrating"))
        print(f"calibrated on {dict(scoring.calibration)['any'].count} normal films of {config.validation}")


def _add_calibrate(commands) -> None:
    command = _command(commands, "calibrate", _calibrate, "Measure normal films, so that scores and percentiles have a scale.")
    command.add_argument("checkpoint", help="checkpoint folder; its config.json is rewritten")
    command.add_argument("--manifest", required=True, metavar="CSV", help="normal films that training never saw")


def _calibrate(options) -> None:
    from .detector import Detector
    from .evaluation.run import calibrate_checkpoint

    scoring = calibrate_checkpoint(Detector.from_pretrained(options.checkpoint), options.manifest, report=_bar("calibrating"))
    for view, entry in scoring.calibration:
        print(f"{view:>4}: {entry.count} normal films")


def _add_prepare(commands) -> None:
    command = _command(commands, "prepare", lambda options: options.prepare(options), "Turn a data set into a manifest.")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    folder = kinds.add_parser("folder", help="images and a table of anything")
    folder.set_defaults(prepare=_prepare_folder)
    folder.add_argument("--table", required=True, metavar="CSV")
    folder.add_argument("--out", required=True, metavar="CSV")
    folder.add_argument("--column", action="append", default=[], metavar="NAME=COLUMN", help="which column is which, e.g. path=file")
    folder.add_argument("--where", action="append", default=[], metavar="COLUMN=A,B", help="keep only rows with these values")


def _prepare_folder(options) -> None:
    from .data.folder import manifest_from_table

    where = {name: set(values.split(",")) for name, values in _pairs(options.where, "--where").items()}
    rows = manifest_from_table(Path(options.table), Path(options.out), _pairs(options.column, "--column"), where)
    print(f"wrote {options.out}: {len(rows)} rows")


def _add_released(commands) -> None:
    command = _command(commands, "import-released", _import_released, "Turn weights of the authors' released code into a checkpoint folder.")
    command.add_argument("weights", metavar="WEIGHTS", help=".pt or .safetensors with the released names")
    command.add_argument("--config", required=True, metavar="JSON", help="image_size, num_channels, channel_mult, num_res_blocks, …")
    command.add_argument("--out", required=True, metavar="DIR")
    command = _command(commands, "verify-released", _verify_released, "Compare our network with outputs of the released code.")
    command.add_argument("stem", metavar="STEM", help="of STEM.json, STEM.weights.safetensors and STEM.io.safetensors")
    command.add_argument("--tolerance", type=float, default=1e-4, help="relative to each tensor's largest value")


def _import_released(options) -> None:
    import torch

    from .checkpoint import load_released, save_checkpoint

    checkpoint = load_released(options.weights, options.config)
    save_checkpoint(options.out, checkpoint.config, checkpoint.network, torch.float32)
    print(f"wrote {options.out}")
    if checkpoint.config.training["ehr_constants"] != "given":
        print("note: the released weights do not hold the mean and std of BMI, pressures, height and weight; general adult values stand in.")
        print('      Put "ehr_mean" and "ehr_std" (kg/m², mmHg, mmHg, inches, lb) of your training set into the JSON to be exact.')


def _verify_released(options) -> int:
    from .verify import verify_released

    differences = verify_released(options.stem)
    print(f"{'tensor':<24} {'largest difference':>18} {'scale':>10}")
    for difference in differences:
        verdict = "ok" if difference.within(options.tolerance) else "DIFFERS"
        print(f"{difference.name:<24} {difference.largest:>18.3e} {difference.scale:>10.3g}  {verdict}")
    return 0 if all(difference.within(options.tolerance) for difference in differences) else 1


if __name__ == "__main__":
    sys.exit(main())
