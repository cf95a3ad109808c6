"""The page in a browser, and films to open on it."""

from __future__ import annotations

from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from helpers import drawn_film
from page_steps import WATCH_SHIFTS

from diff3m.data.phantom import make_person


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, str]:
    """Return paths: "chest" of all 256 greys, "prior" with an opacity, "turned" by a quarter and inverted, "drawn".

    The last is no chest film to the gate.
    """
    folder = tmp_path_factory.mktemp("films")
    chest = cv2.normalize(make_person(2_050_001).render(300), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    pictures = {
        "chest": chest,
        "prior": (make_person(2_050_001, "opacity").render_with_lesion(200).film * 255).astype(np.uint8),
        "turned": 255 - np.rot90(chest),
        "drawn": (drawn_film(300) * 255).astype(np.uint8),
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return {name: str(folder / f"{name}.png") for name in pictures}


@pytest.fixture
def open_page(url, browser):
    """Open the page, and check at the end that it logged no error and sent no request to another server."""

    @contextmanager
    def visit(query: str = "", width: int = 1440, height: int = 900, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        errors, outside = [], []
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request", lambda request: request.url.startswith((url, "data:", "blob:")) or outside.append(request.url)
        )
        page.add_init_script(WATCH_SHIFTS)
        page.goto(f"{url}{query}")
        page.wait_for_selector("#viewer .fv-stage", timeout=60_000)
        yield page
        assert not errors and not outside, (errors, outside)
        page.close()

    return visit
