"""What only the weights and the inference of the authors' released code need."""

from .inference import RELEASED_SCORING, reconstruct_as_released, released_scores
from .verify import Difference, verify_released
from .weights import ReleasedError, load_released

__all__ = [
    "RELEASED_SCORING",
    "Difference",
    "ReleasedError",
    "load_released",
    "reconstruct_as_released",
    "released_scores",
    "verify_released",
]
