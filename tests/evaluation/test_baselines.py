"""Other methods: each reconstructs normal films better than strange ones, and says what it lacks."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import drawn_film

from diff3m.diffusion import Schedule
from diff3m.evaluation.baselines import fit_pca, load_or_train_autoencoder, reconstruct_by_anoddpm
from diff3m.training.simplex import SimplexPool, compute_simplex_noises


@pytest.fixture(scope="module")
def normals() -> np.ndarray:
    return np.stack([np.round(drawn_film(64, seed) * 255).astype(np.uint8) for seed in range(96)])


def _films(bright: float) -> torch.Tensor:
    return torch.from_numpy(np.stack([drawn_film(64, 1000 + seed, bright) for seed in range(8)]))[:, None]


def test_pca_leaves_what_normals_do_not_have(normals):
    reconstruct = fit_pca(normals, components=10, side=32)
    errors = [(reconstruct(_films(bright)) - _films(bright)).square().mean() for bright in (0.0, 0.6)]
    assert errors[1] > 1.5 * errors[0] and reconstruct(_films(0.0)).shape == (8, 1, 64, 64)
    with pytest.raises(ValueError, match="more than 30 normal films"):
        fit_pca(normals[:20])


@pytest.mark.slow
def test_the_autoencoder_is_trained_once_and_learns(normals, tmp_path):
    progress = []
    weights = tmp_path / "autoencoder.safetensors"
    reconstruct = load_or_train_autoencoder(
        normals, weights, epochs=30, report=lambda done, total: progress.append((done, total))
    )
    assert progress[-1] == (30 * 96, 30 * 96) and weights.is_file()
    films = _films(0.0)
    reconstruction = reconstruct(films)
    mean = torch.from_numpy(normals).float().mean() / 255
    assert (reconstruction - films).square().mean() < 0.5 * (films - mean).square().mean()
    assert torch.allclose(
        load_or_train_autoencoder(normals, weights, report=lambda *_: pytest.fail("trained again"))(films),
        reconstruction,
    )
    with pytest.raises(ValueError, match="multiple of 16"):
        load_or_train_autoencoder(normals[:, :60, :60], tmp_path / "other")


def test_ancestral_denoising_with_perfect_knowledge_gives_the_film_back():
    schedule, films = Schedule(), _films(0.0)
    generator = torch.Generator().manual_seed(0)

    def knows(x, t):  # the noise that x holds, for a network that knows the film
        a = schedule.alpha_bar(t).view(-1, 1, 1, 1).float()
        return (x - a.sqrt() * films) / (1 - a).sqrt()

    reconstruction = reconstruct_by_anoddpm(
        films, knows, schedule, lambda count: torch.randn(count, 1, 64, 64, generator=generator), steps=10
    )
    assert torch.allclose(reconstruction, films, atol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("opensimplex") is None, reason="the package opensimplex is not installed")
def test_simplex_noise_is_standardized_structured_and_reproducible():
    fields = compute_simplex_noises(4, 32, seed=3)
    assert np.allclose(fields.mean((1, 2)), 0, atol=1e-5) and np.allclose(fields.std((1, 2)), 1, atol=1e-5)
    neighbours = np.mean(fields[:, :, 1:] * fields[:, :, :-1])
    assert neighbours > 0.5  # Gaussian noise has 0 here
    pool = SimplexPool(32, fields=4)
    first, again = (pool.draw(5, 32, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (5, 1, 32, 32) and torch.equal(first, again)
    with pytest.raises(ValueError, match="32 pixels"):
        pool.draw(1, 64, torch.Generator())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("opensimplex") is None, reason="the package opensimplex is not installed")
def test_simplex_noise_leaves_torch_its_number_of_threads():
    code = (
        "import torch; before = torch.get_num_threads(); from diff3m.training.simplex import compute_simplex_noises;"
        "compute_simplex_noises(1, 16); print(before, torch.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    assert done.stdout.split() == [b"1", b"1"], done.stderr
