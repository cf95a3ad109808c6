"""The commands `diff3m import-released` and `diff3m verify-released`."""

from __future__ import annotations

from .options import add_command


def add_parser(commands) -> None:
    """Add the two commands and their options."""
    command = add_command(
        commands, "import-released", _import, "Turn weights of the authors' released code into a checkpoint folder."
    )
    command.add_argument("weights", metavar="WEIGHTS", help=".pt or .safetensors with the released names")
    command.add_argument(
        "--config", required=True, metavar="JSON", help="image_size, num_channels, channel_mult, num_res_blocks, …"
    )
    command.add_argument("--out", required=True, metavar="DIR")
    command = add_command(
        commands, "verify-released", _verify, "Compare our network with outputs of the released code."
    )
    command.add_argument("stem", metavar="STEM", help="of STEM.json, STEM.weights.safetensors and STEM.io.safetensors")
    command.add_argument("--tolerance", type=float, default=1e-4, help="relative to each tensor's largest value")


def _import(options) -> None:
    import torch

    from ..checkpoint.folder import save_checkpoint
    from ..released.weights import load_released

    checkpoint = load_released(options.weights, options.config)
    save_checkpoint(options.out, checkpoint.config, checkpoint.network, torch.float32)
    print(f"wrote {options.out}")
    if checkpoint.config.training["ehr_constants"] != "given":
        print(
            "note: the released weights do not hold the mean and std of BMI, pressures, height and weight; "
            "general adult values stand in.\n"
            '      Put "ehr_mean" and "ehr_std" (kg/m², mmHg, mmHg, inches, lb) of your training set into the JSON.'
        )


def _verify(options) -> int:
    from ..released.verify import verify_released

    differences = verify_released(options.stem)
    print(f"{'tensor':<24} {'largest difference':>18} {'scale':>10}")
    for difference in differences:
        verdict = "ok" if difference.within(options.tolerance) else "DIFFERS"
        print(f"{difference.name:<24} {difference.largest:>18.3e} {difference.scale:>10.3g}  {verdict}")
    return 0 if all(difference.within(options.tolerance) for difference in differences) else 1
