"""The command line's arguments: which commands there are and what each takes. `cli` runs them."""

from __future__ import annotations

import argparse

from ..evaluation import BASELINES, RELEASED_STRIDE

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

# data sets that are one folder, as released, by the name of `diff3m prepare NAME`
RELEASES = {
    "chexpert": "CheXpert: age, sex and view",
    "chexpert-plus": "CheXpert Plus: age, sex, view and BMI",
    "nih": "NIH ChestX-ray14: age, sex and view",
    "padchest": "PadChest: age, sex and view",
}


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="diff3m", description="Anomaly detection on chest X-rays, conditioned on the patient's record."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_analyze(commands)
    _add_explain(commands)
    _add_evaluate(commands)
    _add_train(commands)
    _add_head(commands)
    _add_calibrate(commands)
    _add_prepare(commands)
    _add_phantom(commands)
    _add_benchmark(commands)
    _add_released(commands)
    return parser


def _command(commands, name: str, help_text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=name)
    return command


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _model_options(command: argparse.ArgumentParser, default: str = "real-films") -> None:
    command.add_argument("--checkpoint", default=default, help=f"folder, shipped name or Hub id (default: {default})")
    command.add_argument("--device", default=None, help="cpu, cuda, … (default: a GPU if there is one)")
    command.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))


def _walk_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--steps", type=int, default=None, help="DDIM steps each way (default: the checkpoint's)")
    command.add_argument(
        "--noise-level", type=int, default=None, help="noise level of the shown reconstruction, 1 to 1000"
    )
    command.add_argument("--seed", type=int, default=0)


def _case_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("image")
    for flag, (feature, text) in EHR_FLAGS.items():
        command.add_argument(
            f"--{flag}", dest=f"ehr_{feature}", default=None, metavar=flag.split("-")[0].upper(), help=text
        )
    command.add_argument(
        "--ehr", action="append", default=[], metavar="NAME=VALUE", help="any feature of the checkpoint's schema"
    )
    command.add_argument(
        "--no-header", action="store_true", help="ignore age, sex, view, height and weight in a DICOM header"
    )


def _add_analyze(commands) -> None:
    command = _command(commands, "analyze", "Analyze one radiograph (DICOM, PNG, JPEG, WebP or TIFF).")
    _case_options(command)
    command.add_argument("--json", default=None, metavar="FILE", help="write score, percentile, attention and settings")
    command.add_argument(
        "--out",
        default=None,
        metavar="DIR",
        help="write film, reconstruction, residual, heat map and anomaly map as PNG",
    )
    _model_options(command)
    _walk_options(command)


def _add_explain(commands) -> None:
    command = _command(
        commands,
        "explain",
        "What the record does to the opinion on one radiograph: attributions, fit, information, influence curves.",
    )
    _case_options(command)
    command.add_argument(
        "--target",
        default="misfit,expectation,prior",
        help="any of misfit, expectation, prior and score, with commas (default: the first three; score takes longer)",
    )
    command.add_argument(
        "--curve", action="append", default=[], metavar="NAME", help="also an influence curve of a number, e.g. bmi"
    )
    command.add_argument(
        "--change",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="also what normal looks like under this change of the record, e.g. bmi=38",
    )
    command.add_argument(
        "--box", type=float, nargs=4, default=None, metavar=("TOP", "LEFT", "BOTTOM", "RIGHT"),
        help="a region to explain, as shares of the film (default: around the largest difference)",
    )  # fmt: skip
    command.add_argument("--json", default=None, metavar="FILE", help="write everything but the pictures")
    command.add_argument(
        "--out", default=None, metavar="DIR", help="write maps, normals under other records and strips of curves as PNG"
    )
    _model_options(command)


def _add_evaluate(commands) -> None:
    command = _command(commands, "evaluate", "Score a manifest; write metrics.json and scores.csv.")
    command.add_argument("--manifest", required=True, metavar="CSV")
    command.add_argument("--out", required=True, metavar="DIR")
    command.add_argument("--limit", type=_positive, default=None, metavar="N", help="only the first N rows")
    command.add_argument("--batch-size", type=_positive, default=16)
    _model_options(command)
    _walk_options(command)


def _add_train(commands) -> None:
    command = _command(commands, "train", "Train a checkpoint, or go on with one, as a YAML file says.")
    command.add_argument("config", metavar="CONFIG.yaml")
    for name in ("manifest", "validation", "out"):
        command.add_argument(f"--{name}", default=None, help=f"instead of the file's `{name}`")
    command.add_argument("--steps", type=int, default=None, help="instead of the file's `steps`")


def _add_head(commands) -> None:
    command = _command(commands, "head", "Teach a checkpoint's anomaly head on normal films with anomalies painted in.")
    command.add_argument("checkpoint", help="checkpoint folder; head.safetensors is written into it")
    command.add_argument(
        "--manifest", required=True, metavar="CSV", help="normal films, those that the checkpoint was trained on"
    )
    command.add_argument("--steps", type=_positive, default=1500)
    command.add_argument(
        "--members", type=_positive, default=1, help="networks that learn side by side and are averaged (default: 1)"
    )
    command.add_argument("--seed", type=int, default=0)


def _add_calibrate(commands) -> None:
    command = _command(commands, "calibrate", "Measure normal films, so that scores and percentiles have a scale.")
    command.add_argument("checkpoint", help="checkpoint folder; its config.json is rewritten")
    command.add_argument("--manifest", required=True, metavar="CSV", help="normal films that training never saw")
    command.add_argument(
        "--fit", action="store_true", help="measure how films fit their record, for explanations, instead of scores"
    )


def _add_prepare(commands) -> None:
    command = _command(commands, "prepare", "Turn a data set into a manifest.")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    mimic = kinds.add_parser("mimic", help="MIMIC-CXR-JPG with the record of MIMIC-IV, linked as the paper does")
    mimic.set_defaults(run="prepare mimic")
    mimic.add_argument("--cxr", required=True, metavar="DIR", help="of mimic-cxr-2.…-metadata.csv.gz and files/")
    mimic.add_argument("--iv", required=True, metavar="DIR", help="of hosp/patients.csv.gz and hosp/omr.csv.gz")
    mimic.add_argument(
        "--ed", default=None, metavar="DIR", help="of ed/edstays.csv.gz and ed/triage.csv.gz: adds vitals"
    )
    mimic.add_argument("--out", required=True, metavar="MANIFEST")
    for name, text in RELEASES.items():
        kind = kinds.add_parser(name, help=text)
        kind.set_defaults(run="prepare release")
        kind.add_argument("--dir", required=True, metavar="DIR", help="as released")
        kind.add_argument("--out", required=True, metavar="MANIFEST")
        kind.add_argument("--seed", type=int, default=0, help="of the split of patients, where the release has none")
    tree = kinds.add_parser(
        "dicom", help="a tree of DICOM files: age, sex, view, height, weight and so BMI from the headers"
    )
    tree.set_defaults(run="prepare dicom")
    tree.add_argument("dir", metavar="DIR")
    tree.add_argument("--out", required=True, metavar="MANIFEST")
    tree.add_argument(
        "--salt", required=True, metavar="TEXT", help="that ids are hashed with; @FILE reads it from a file"
    )
    tree.add_argument("--labels", default=None, metavar="CSV", help="columns label, and accession or path")
    tree.add_argument("--seed", type=int, default=0, help="of the split of patients")
    tree.add_argument("--processes", type=_positive, default=None, metavar="N", help="default: all processors")
    folder = kinds.add_parser("folder", help="images and a table of anything")
    folder.set_defaults(run="prepare folder")
    folder.add_argument("--table", required=True, metavar="CSV")
    folder.add_argument("--out", required=True, metavar="CSV")
    folder.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN", help="which column is which, e.g. path=file"
    )
    folder.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=A,B", help="keep only rows with these values"
    )
    for kind in kinds.choices.values():
        kind.add_argument(
            "--accept", action="store_true", help="also use films that the gate would stop; the report counts them"
        )
        kind.add_argument(
            "--quick",
            action="store_true",
            help="read only the first and last bytes of each film: damage in the middle and turned films go unnoticed",
        )
        kind.add_argument("--decode", action="store_true", help=argparse.SUPPRESS)  # the default by now


def _add_phantom(commands) -> None:
    command = _command(
        commands,
        "phantom",
        "Simulate chest films whose anatomy follows from the record; write films, masks and a manifest.",
    )
    command.add_argument("--n", type=_positive, required=True, metavar="N", help="how many")
    command.add_argument("--size", type=_positive, default=256, help="pixels a side (default 256)")
    command.add_argument(
        "--seed", type=int, default=0, help="number of the first person; the same number is the same person"
    )
    command.add_argument(
        "--lesions", type=float, default=0.0, metavar="SHARE", help="share of films with a lesion, 0 to 1"
    )
    command.add_argument(
        "--counterfactual",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="also each person under another record, e.g. bmi=35",
    )
    command.add_argument(
        "--ignored",
        default=None,
        metavar="NAME",
        help="also a column of random numbers on which nothing in a film depends",
    )
    command.add_argument("--out", required=True, metavar="DIR")


def _add_benchmark(commands) -> None:
    command = _command(commands, "benchmark", "Measure a checkpoint beside other methods, or where the truth is known.")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    phantoms = kinds.add_parser(
        "phantoms", help="detection, localization and counterfactuals on simulated patients that training never saw"
    )
    phantoms.set_defaults(run="benchmark phantoms")
    phantoms.add_argument("--out", required=True, metavar="DIR", help="phantoms.json is written here")
    phantoms.add_argument("--normals", type=_positive, default=200, help="normal phantoms")
    phantoms.add_argument("--each", type=_positive, default=50, help="phantoms of each kind of lesion")
    phantoms.add_argument(
        "--people", type=_positive, default=60, help="people whose films are compared under other records"
    )
    phantoms.add_argument(
        "--films", default=None, metavar="MANIFEST", help="also compare phantoms with these real films"
    )
    _model_options(phantoms, default="phantoms")
    films = kinds.add_parser(
        "films", help="detection on real films beside PCA, autoencoder, AnoDDPM and the released inference"
    )
    films.set_defaults(run="benchmark films")
    films.add_argument("--manifest", required=True, metavar="CSV", help="labelled films that nothing was trained on")
    films.add_argument(
        "--train", required=True, metavar="CSV", help="normal films that PCA and the autoencoder learn from"
    )
    films.add_argument(
        "--boxes",
        default=None,
        metavar="CSV",
        help="image, x, y, w, h in pixels; matched to the manifest's column `image`",
    )
    films.add_argument(
        "--halves",
        default=None,
        metavar="COLUMN",
        help="cut the films in two by the hash of this column, report each half too",
    )
    films.add_argument(
        "--simplex", default=None, metavar="CHECKPOINT", help="trained with `noise: simplex`, for AnoDDPM"
    )
    films.add_argument(
        "--released-stride",
        type=_positive,
        default=RELEASED_STRIDE,
        metavar="N",
        help="every N-th timestep of the released loop (default: %(default)s)",
    )
    films.add_argument(
        "--baselines",
        nargs="+",
        choices=BASELINES,
        default=BASELINES,
        metavar="NAME",
        help=f"of {'; '.join(BASELINES)} (default: all)",
    )
    films.add_argument(
        "--out", required=True, metavar="DIR", help="films.json, films.md, scores.csv and films.svg are written here"
    )
    _model_options(films)
    explained = kinds.add_parser(
        "explanations", help="attributions and attention against known causes, on simulated patients"
    )
    explained.set_defaults(run="benchmark explanations")
    explained.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="explanations.json, explanations.md, explanations.svg and cases.csv are written here",
    )
    explained.add_argument("--each", type=_positive, default=100, help="phantoms with each group extreme")
    explained.add_argument(
        "--with-oracle", type=_positive, default=40, help="of those, how many the oracle explains too"
    )
    explained.add_argument(
        "--ignored", nargs=2, default=None, metavar=("CHECKPOINT", "NAME"),
        help="also a checkpoint that was trained with a random column, and the column's name (see `diff3m phantom --ignored`)",
    )  # fmt: skip
    _model_options(explained, default="phantoms")


def _add_released(commands) -> None:
    command = _command(
        commands, "import-released", "Turn weights of the authors' released code into a checkpoint folder."
    )
    command.add_argument("weights", metavar="WEIGHTS", help=".pt or .safetensors with the released names")
    command.add_argument(
        "--config", required=True, metavar="JSON", help="image_size, num_channels, channel_mult, num_res_blocks, …"
    )
    command.add_argument("--out", required=True, metavar="DIR")
    command = _command(commands, "verify-released", "Compare our network with outputs of the released code.")
    command.add_argument("stem", metavar="STEM", help="of STEM.json, STEM.weights.safetensors and STEM.io.safetensors")
    command.add_argument("--tolerance", type=float, default=1e-4, help="relative to each tensor's largest value")
