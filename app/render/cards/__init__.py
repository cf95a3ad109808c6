"""Cards of the explanations as HTML, by the names of `diff3m.explain.EXPLANATIONS`.

Importing this package fills `CARDS`: every module in it is imported, and each registers its cards.
"""

from importlib import import_module
from pkgutil import iter_modules

from .registry import CARDS, card, card_title, render

__all__ = ["CARDS", "card", "card_title", "render"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
