"""Outlines of lungs and heart."""

import importlib.util
import re
import sys

import numpy as np
import pytest
import torch
from helpers import ROOT
from safetensors.torch import load_file

from diff3m.data.phantom import make_person
from diff3m.data.phantom.render import compute_layers
from diff3m.imaging.organs import SIDE, WEIGHTS, OrganNetwork, Organs, largest_part, segment_organs
from diff3m.resources import resource

spec = importlib.util.spec_from_file_location("fit_organs", ROOT / "tools" / "fit_organs.py")
fit_organs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fit_organs)


def test_lungs_of_unseen_simulated_films_are_outlined():
    """Persons whom neither the fit nor the held-out films of the fit contain; the masks are exact."""
    people = [make_person(number) for number in range(2_000_000, 2_000_012)]
    films = np.stack([someone.render(128) for someone in people])
    masks = segment_organs(films)
    dice = []
    for someone, outlines in zip(people, masks, strict=True):
        maps = compute_layers(someone.draw_anatomy(), SIDE)
        for truth, mask in ((maps.lung_left, outlines[0]), (maps.lung_right, outlines[1])):
            inside = mask > 127
            dice.append(2 * (inside & (truth > 0.5)).sum() / (inside.sum() + (truth > 0.5).sum()))
    assert np.mean(dice) > 0.9


def test_bytes_and_floats_give_the_same_masks():
    film = make_person(5).render(96)
    bytes_film = np.round(film * 255).astype(np.uint8)
    from_bytes, from_floats = (
        segment_organs(bytes_film[None]),
        segment_organs(bytes_film[None].astype(np.float32) / 255),
    )
    assert np.abs(from_bytes.astype(int) - from_floats).mean() < 1


def test_only_the_largest_part_of_an_organ_stays():
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:30, 10:30], mask[50:54, 50:54] = 255, 200
    result = largest_part(mask)
    assert result[20, 20] == 255 and not result[48:56, 48:56].any()


def test_a_film_without_lungs_still_has_a_place_for_them():
    blank = Organs(*(np.zeros((32, 32), np.float32) for _ in range(3)))
    x, y = blank.point_in_lungs(np.random.default_rng(0))
    assert 0.1 < x < 0.9 and 0.1 < y < 0.75
    assert blank.boxes[-1][2] < 0.5 < blank.boxes[1][0]
    assert blank.heart_box()[0] == pytest.approx(0.53)


def test_boxes_are_shares_of_the_side():
    left_lung = np.zeros((100, 100), np.float32)
    left_lung[20:60, 10:40] = 1
    organs = Organs(left_lung, np.zeros_like(left_lung), np.zeros_like(left_lung))
    assert organs.boxes[-1] == (0.1, 0.2, 0.4, 0.6)


@pytest.mark.slow
def test_the_fit_of_the_network_runs(tmp_path, monkeypatch, capsys):
    """The tool in a small setting: it writes weights that the network takes, and they move from where they start."""
    weights = []
    for steps in (1, 4):
        out = tmp_path / f"organs-{steps}.safetensors"
        options = ["--films", "15", "--steps", str(steps), "--batch-size", "4", "--processes", "1"]
        monkeypatch.setattr(sys, "argv", ["fit_organs.py", str(out), *options])
        fit_organs.main()
        assert re.search(rf"step {steps}: loss \d\.\d+, Dice .*\[0\.\d+, 0\.\d+, 0\.\d+\]", capsys.readouterr().out)
        weights.append(load_file(out))
        OrganNetwork().load_state_dict({name: tensor.float() for name, tensor in weights[-1].items()})
    assert not torch.equal(weights[0]["head.weight"], weights[1]["head.weight"])


def test_the_weights_are_in_the_wheel():
    """A wheel carries assets by name; the network's file is where `resource` looks for it."""
    assert WEIGHTS == resource(f"assets/{WEIGHTS.name}") and WEIGHTS.is_file()
    assert f'"{WEIGHTS.name}"' in (ROOT / "setup.py").read_text()
