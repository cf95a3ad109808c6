"""The command `diff3m head`: teach a checkpoint's anomaly head."""

from __future__ import annotations

from .options import add_command, positive
from .terminal import bar

REPORTED = 50  # steps that a line averages


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "head", run, "Teach a checkpoint's anomaly head on normal films with anomalies painted in."
    )
    command.add_argument("checkpoint", help="checkpoint folder; head.safetensors is written into it")
    command.add_argument(
        "--manifest", required=True, metavar="CSV", help="normal films, those that the checkpoint was trained on"
    )
    command.add_argument("--steps", type=positive, default=1500)
    command.add_argument(
        "--members", type=positive, default=1, help="networks that learn side by side and are averaged (default: 1)"
    )
    command.add_argument("--seed", type=int, default=0)


def run(options) -> None:
    """Teach the head and write it into the checkpoint."""
    from ..checkpoint.folder import save_head
    from ..detector import Detector
    from ..scoring.anomaly_head import HeadConfig
    from ..training.head import HeadStep, HeadTraining, train_head

    detector, report_step = Detector.from_pretrained(options.checkpoint), bar("teaching the head")
    recent: list[HeadStep] = []

    def report(step: HeadStep) -> None:
        report_step(step.step, options.steps)
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
    save_head(detector.checkpoint.saved_folder, detector.config, head)
    print(f"wrote {detector.checkpoint.folder}; a score that uses the head must be chosen and calibrated anew")
