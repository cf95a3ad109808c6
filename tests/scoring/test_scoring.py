from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from diff3m.scoring.calibrate import calibrate_scoring
from diff3m.scoring.filters import crop_borders, gaussian_blur, structural_similarity
from diff3m.scoring.measure import compute_heat_map, measure_component, measure_contradiction
from diff3m.scoring.score import Component, Scoring, by_noise_level
from diff3m.scoring.score_file import ScoreFileError, read_candidates, read_score, write_score


def pair(seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    film = gaussian_blur(torch.rand(2, 1, 64, 64, generator=g), 2)
    return film, (film + 0.05 * torch.randn(2, 1, 64, 64, generator=g)).clamp(0, 1)


def test_blur_equals_opencv():
    film, _ = pair()
    sigma = 3.0
    radius = int(3 * sigma + 0.5)
    expected = cv2.GaussianBlur(film[0, 0].numpy(), (2 * radius + 1,) * 2, sigma, borderType=cv2.BORDER_REFLECT_101)
    assert gaussian_blur(film, sigma)[0, 0].numpy() == pytest.approx(expected, abs=1e-5)


def test_ssim_against_the_formula_with_opencv():
    a, b = (image[0, 0].numpy().astype(np.float64) for image in pair())

    def blur(x):
        return cv2.GaussianBlur(x, (15, 15), 2.4, borderType=cv2.BORDER_REFLECT_101)

    ma, mb = blur(a), blur(b)
    va, vb, cab = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    expected = ((2 * ma * mb + 1e-4) * (2 * cab + 9e-4)) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    film, other = pair()
    assert structural_similarity(film, other, 2.4)[0, 0].numpy() == pytest.approx(expected, abs=1e-3)
    assert structural_similarity(film, film, 2.4) == pytest.approx(torch.ones_like(film), abs=1e-5)


def test_blurring_keeps_the_sign_until_the_end():
    film = torch.full((1, 1, 64, 64), 0.5)
    grain = film + 0.2 * (torch.arange(64 * 64).view(1, 1, 64, 64) % 2 - 0.5)  # fine grain, mean zero
    spot = film.clone()
    spot[..., 28:36, 28:36] += 0.1
    kind = Component("absolute", 4, 400)
    assert measure_component(kind, spot, film, 0.08) > 10 * measure_component(kind, grain, film, 0.08)
    assert measure_component(Component("mse", 0, 400), grain, film, 0.08) > measure_component(
        Component("mse", 0, 400), spot, film, 0.08
    )


def test_brighter_and_darker_are_told_apart():
    film = torch.full((1, 1, 64, 64), 0.5)
    bright = film.clone()
    bright[..., 28:36, 28:36] += 0.3
    up, down = (measure_component(Component(kind, 2, 400), bright, film, 0.0).item() for kind in ("brighter", "darker"))
    assert up > 0.1 and abs(down) < 0.01
    assert compute_heat_map(bright, film, 2).amax() > 0 and compute_heat_map(film, bright, 2).amin() < 0


def test_margin_is_left_out():
    film = torch.zeros(1, 1, 100, 100)
    bright_edge = film.clone()
    bright_edge[..., :5, :] = 1
    assert crop_borders(film, 0.1).shape[-2:] == (80, 80)
    assert measure_component(Component("absolute", 0.1, 400), bright_edge, film, 0.1) == 0


def test_sigma_scales_with_the_picture():
    small, _ = pair()
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    flat = [torch.full_like(image, 0.5) for image in (small, large)]
    values = [
        measure_component(Component("absolute", 8, 400), image, other, 0.08)
        for image, other in zip((small, large), flat, strict=True)
    ]
    assert values[0] == pytest.approx(values[1], rel=0.15)


def calibrated_checkpoint():
    g = torch.Generator().manual_seed(0)
    values = torch.randn(100, 3, generator=g) * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([10.0, 20.0, 30.0])
    views = ["PA"] * 60 + ["AP"] * 25 + ["LL"] * 5 + [None] * 10
    values[60:85] += 5
    return calibrate_scoring(Scoring(), values, views, torch.linspace(0, 1, 100 * 64).view(100, 8, 8)), values


def test_scores_are_mean_z_scores_within_view():
    scoring, values = calibrated_checkpoint()
    expected = ((values[3].double() - values[:60].double().mean(0)) / values[:60].double().std(0)).mean()
    assert scoring.score(values[3], "PA") == pytest.approx(expected.item())
    assert scoring.score(values[:60].mean(0), "PA") == pytest.approx(0, abs=1e-6)
    assert scoring.score(values[70], "AP") < scoring.score(values[70], "PA")


def test_percentiles_count_normals_below():
    scoring, values = calibrated_checkpoint()
    scores = [scoring.score(row, "PA") for row in values[:60]]
    assert scoring.percentile(max(scores) + 1, "PA") == 100 and scoring.percentile(min(scores) - 1, "PA") == 0
    middle = sorted(scores)[30]
    assert scoring.percentile(middle + 1e-4, "PA") == pytest.approx(100 * 31 / 60, abs=1.7)


def test_a_view_that_is_unknown_or_too_rare_is_compared_with_all():
    scoring, _ = calibrated_checkpoint()
    assert scoring.select_calibration("PA")[0] == "PA" and scoring.select_calibration("PA")[1].count == 60
    for view in (None, "LL", "oblique"):
        assert scoring.select_calibration(view)[0] == "any" and scoring.select_calibration(view)[1].count == 100
    with pytest.raises(LookupError, match="calibrate"):
        Scoring().select_calibration("PA")


def test_scoring_survives_json():
    import json

    scoring, _ = calibrated_checkpoint()
    assert Scoring.from_dict(json.loads(json.dumps(scoring.to_dict()))) == scoring
    with pytest.raises(ValueError):
        Component("entropy", 1, 400)


def test_a_contradiction_points_where_the_record_points():
    generator = torch.Generator().manual_seed(0)
    estimate, direction = (torch.rand(1, 1, 32, 32, generator=generator) for _ in range(2))
    higher = estimate + 0.1 * direction
    toward, away = (measure_contradiction(estimate + sign * 0.3 * direction, estimate, higher, 0.0) for sign in (1, -1))
    assert float(toward) == pytest.approx(0.3 * float(direction.norm()), rel=1e-4) == -float(away)
    assert float(measure_contradiction(estimate, estimate, higher, 0.0)) == 0
    with pytest.raises(ValueError, match="names a feature"):
        Component("contradiction", 0, 300, "one_step")
    with pytest.raises(ValueError, match="names a feature"):
        Component("contradiction", 0, 300, "inversion", feature="age")


def test_an_unknown_contradiction_counts_neither_way_and_max_starts_at_zero():
    components = (Component("absolute", 2, 200), Component("contradiction", 0, 300, "one_step", feature="age"))
    values = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
    values[::4, 1] = float("nan")
    for combine in ("mean", "max"):
        scoring = calibrate_scoring(Scoring(components, combine=combine), values, ["PA"] * 40, torch.zeros(40, 8, 8))
        entry = dict(scoring.calibration)["PA"]
        scores = [scoring.score(row, "PA") for row in values]
        assert np.mean(scores) == pytest.approx(0, abs=1e-6) and sorted(scores) == pytest.approx(entry.scores, abs=1e-4)
        alone = torch.tensor([entry.mean[0] + 2 * entry.std[0], float("nan")])
        expected = 2 - entry.offset  # of what is known
        assert scoring.score(alone, "PA") == pytest.approx(expected)
        assert Scoring.from_dict(scoring.to_dict()) == scoring
    with pytest.raises(ValueError, match="combine"):
        Scoring(combine="sum")


def test_a_relative_measurement_ignores_the_films_contrast():
    generator = torch.Generator().manual_seed(2)
    film, other = (torch.rand(1, 1, 64, 64, generator=generator) for _ in range(2))
    plain, relative = (Component("brighter", 2, 200, relative=flag) for flag in (False, True))
    half = other + 0.5 * (film - other)
    assert float(measure_component(plain, half, other, 0.1)) == pytest.approx(
        0.5 * float(measure_component(plain, film, other, 0.1)), rel=1e-4
    )
    assert float(measure_component(relative, half, other, 0.1)) == pytest.approx(
        float(measure_component(relative, film, other, 0.1)), rel=1e-4
    )
    largest = Component("largest", 2, 200)
    assert float(measure_component(largest, film, other, 0.1)) == pytest.approx(
        float(measure_component(largest, other, film, 0.1)), rel=1e-5
    )
    fewer = Component("brighter", 2, 200, share=0.002)
    assert float(measure_component(fewer, film, other, 0.1)) > float(measure_component(plain, film, other, 0.1))


def test_a_window_cuts_each_side_by_its_own_share():
    x = torch.arange(400.0).view(1, 1, 20, 20)
    assert torch.equal(crop_borders(x, (0.1, 0.2, 0.3, 0.05)), x[..., 2:14, 1:16]) and torch.equal(
        crop_borders(x, 0.1), x[..., 2:18, 2:18]
    )
    scoring = Scoring(window=(0.1, 0.2, 0.3, 0.05), mirrored_noises=True)
    assert scoring.border == scoring.window and Scoring().border == Scoring().margin
    assert Scoring.from_dict(scoring.to_dict()) == scoring
    with pytest.raises(ValueError, match="window"):
        Scoring(window=(0.1, 0.2, 0.6, 0.05))


BASE = Scoring(noise_level=400, steps=8, window=(0.1, 0.2, 0.3, 0.05), one_step_noises=2)


def test_a_score_file_changes_what_it_states(tmp_path):
    (tmp_path / "score.json").write_text('{"components": [{"kind": "mse"}], "noise_level": 200, "window": null}')
    scoring = read_score(
        tmp_path / "score.json", calibrate_scoring(BASE, torch.rand(4, 3), ["PA"] * 4, torch.rand(4, 8, 8))
    )
    assert scoring.components == (Component("mse", 0, 200),), "sigma 0 and the file's noise level are the defaults"
    assert (scoring.noise_level, scoring.window, scoring.steps, scoring.one_step_noises) == (200, None, 8, 2)
    assert scoring.calibration == ()


def test_a_written_score_is_read_again(tmp_path):
    components = (
        Component("brighter", 2, 30, "one_step", 0.01, True),
        Component("contradiction", 0, 300, "one_step", feature="age"),
    )
    scoring = replace(BASE, components=components, combine="max", mirrored_noises=True, heat_sigma=2.5)
    write_score(tmp_path / "score.yaml", scoring)
    assert read_score(tmp_path / "score.yaml", Scoring()) == scoring


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- kind: mse", "must be a mapping"),
        ("components: [", "cannot be read"),
        ("components: []", "at least one component"),
        ("components: [{sigma: 2}]", "component 1: it must be a mapping with a `kind`"),
        ("components: [{kind: mse}, {kind: entropy}]", "component 2: kind must be one of absolute"),
        ("components: [{kind: mse, level: 30.5}]", "`level` must be a whole number, got 30.5"),
        ("components: [{kind: mse, level: true}]", "`level` must be a whole number"),
        ("components: [{kind: mse, level: 0}]", "level at least 1"),
        ("components: [{kind: mse, sigma: .inf}]", "sigma must be at least 0"),
        ("components: [{kind: brighter, share: 2}]", "share above 0"),
        ("components: [{kind: logit}]", "kind must be one of absolute"),
        ("components: [{kind: mse, wide: 2}]", "no key wide"),
        ("components: [{kind: mse}, {kind: mse}]", "component 2 stands there twice"),
        ("steps: 900", "steps must lie between 1 and noise_level"),
        ("combine: sum", "combine must be one of"),
        ("estimate: x", "estimate must be one of"),
        ("window: [0.1, 0.1]", "four shares"),
        ("window: [0.1, 0.1, 0.6, 0.1]", "under a half"),
        ("window: [0.1, 0.1, a, 0.1]", "must be a number"),
        ("margin: .nan", "margin"),
        ("calibration: {}", "no key calibration"),
    ],
)
def test_a_wrong_score_file_gets_a_sentence(tmp_path, text, word):
    (tmp_path / "score.yaml").write_text(text)
    with pytest.raises(ScoreFileError, match=word):
        read_score(tmp_path / "score.yaml", BASE)


def test_candidates_share_settings_and_may_override_them(tmp_path):
    path = tmp_path / "candidates.yaml"
    path.write_text(
        "noise_level: 300\ncandidates:\n  a: {components: [{kind: mse}]}\n  b: {noise_level: 60, steps: 2}\n"
    )
    candidates = read_candidates(path, BASE)
    assert list(candidates) == ["a", "b"] and candidates["a"].components == (Component("mse", 0, 300),)
    assert (candidates["b"].noise_level, candidates["b"].components) == (60, BASE.components)
    for text, word in (("steps: 2", "needs `candidates`"), ("candidates: {a: 3}", "candidate 'a' must be a mapping")):
        path.write_text(text)
        with pytest.raises(ScoreFileError, match=word):
            read_candidates(path, BASE)
    with pytest.raises(ScoreFileError, match="no score file"):
        read_candidates(tmp_path / "absent.yaml", BASE)


def test_by_noise_level_leaves_out_what_is_no_residual():
    measurements = [
        (Component("brighter", 2, 60), 1.8),
        (Component("darker", 2, 60), -1.0),
        (Component("absolute", 2, 400), 0.4),
        (Component("contradiction", 0, 350, "one_step", feature="age"), 9.0),
    ]
    assert by_noise_level(measurements, "max") == {60: (1.8, 2), 400: (0.4, 1)}
    assert by_noise_level(measurements, "mean") == {60: (pytest.approx(0.4), 2), 400: (0.4, 1)}
