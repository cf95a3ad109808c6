"""The film viewer: a film at its own resolution, what is normal for its record, and the difference map over either.

Plain WebGL2 with a canvas fallback, in ES modules that run as they are. OpenSeadragon shows tiles of 8-bit pictures and
has neither a 16-bit window nor measuring tools, so most of this would remain to be written on top of it. Cornerstone
windows and measures, but needs a bundler and more than a megabyte of script, and the swipe, the signed map and the
ratio that is carried over to the normal film would still be our code.

Use in a page
    gr.set_static_paths([STATIC_FOLDER])              # once, before launch(): lets the browser load the modules
    viewer = film_viewer(elem_id="viewer")            # a gr.HTML
    film = build_film(pixels, store=store_picture)     # pixels: (H, W) uint8, uint16 or float in [0, 1]
    event(…, outputs=viewer)                          # the function returns ViewerState(film).to_value()

A later value with the same film keeps zoom, window and measurements: send the film at once, and the same film with its
normal film and maps when the analysis is done. Values are small; pictures travel as files, each once. No event below
is sent unless something listens to it.
    viewer.explain(f)    "Explain this region": f(event: gr.EventData) with event.film (0 or 1), event.box and, for a
                         finding, event.finding, its index
    viewer.finding(f)    the viewer moved to a finding: event.film, event.index
    viewer.action(f)     a button of the notice: event.id
    viewer.measure(f)    measurements changed: event.version and event.measurements, see `read_measurements`
JavaScript reaches the same through `document.querySelector("#viewer .film-viewer").viewer`: centerOn(index, film = 0),
explainFinding(index, film = 0), measurements(), setMode("film" | "normal" | "both" | "swipe"), setMap(…),
setPreset(name), reset(); and through the DOM events viewer-explain, viewer-finding, viewer-action and viewer-measure,
which bubble. Two expressions for `js=` spare a page from writing any; the second replaces the event's last input by the
measurements, as JSON:
    chip.click(None, js=center_on("viewer", 2))
    save.click(save_report, [case, measured], …, js=with_measurements("viewer"))

Schema of the value (JSON). Places and boxes are shares of the film's sides, rows before columns:
box = [top, left, bottom, right].
    films         one or two of:
      name, normal_name   what stands over the film and over its normal film
      film, normal        grey PNG of 8 or 16 bits: a file of Gradio's or an address; normal is null before the analysis
      maximum             the stored value that is white: 255, 4095 …; null: the largest that the file can hold
      spacing_mm          [row, column] millimeters between pixels, or null
      maps                [{name, file, scale, signed, full, threshold, factor, unit, box}]: see `ViewerMap`
      findings            [{label, value, box, outline, stands_out, known}]: outline is a list of [row, column], or null
                          for the box itself; what stands out has a full line, what is known another color
      tags                short texts in the corner, such as "the model sees 128 pixels"
    presets       [{name, center, width}], shares of `maximum`; "Full range" is always there
    window        name of the preset to begin with, or null for the full range
    description   the picture in words, for screen readers
    status        {text, share} in the corner, share in 0..1 or null; or null
    notice        {text, actions: [{id, label}]} over the film; or null

`viewer.html` opens a value without Gradio: `viewer.html?value=value.json`, from any server of static files.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from .encode import MAX_SIDE, build_film, encode_film, encode_map, window_presets
from .measurements import Measurement, read_measurements
from .state import Notice, Status, ViewerFilm, ViewerFinding, ViewerMap, ViewerState, Window

STATIC_FOLDER = Path(__file__).resolve().parent
TEMPLATE = '<div class="film-viewer" style="height: 100%; min-height: 360px; background: #000"></div>'
# Dynamic import() works in a plain script, and the module finds its neighbors and its style sheet by its own address.
# Each event's name has to stand here in quotes: gr.HTML offers a listener for those that it finds.
SCRIPT = """
const root = element.querySelector(".film-viewer");
const names = ["explain", "finding", "action", "measure"];
for (const name of names) root.addEventListener("viewer-" + name, (event) => trigger(name, event.detail));
const mounted = import(props.module.url).then((module) => module.mount(root, props.value));
mounted.catch((error) => {
  root.textContent = "The viewer could not be loaded. Reload the page. (" + error.message + ")";
});
watch("value", () => mounted.then((viewer) => viewer.load(props.value)));
"""

__all__ = [
    "MAX_SIDE",
    "STATIC_FOLDER",
    "Measurement",
    "Notice",
    "Status",
    "ViewerFilm",
    "ViewerFinding",
    "ViewerMap",
    "ViewerState",
    "Window",
    "build_film",
    "center_on",
    "encode_film",
    "encode_map",
    "film_viewer",
    "read_measurements",
    "window_presets",
    "with_measurements",
]


def film_viewer(
    state: ViewerState | None = None, *, elem_id: str = "viewer", height: str = "100%", **options
) -> gr.HTML:
    """Create the viewer inside a `gr.Blocks`. Its folder has to be served: `gr.set_static_paths([STATIC_FOLDER])`.

    Parameters:
        state: what it shows at first; nothing by default.
        elem_id: id of its element, for tests, style sheets and `center_on`.
        height: a CSS length, such as "760px" or "calc(100vh - 140px)"; by default that of its container.
        options: further arguments of `gr.HTML`, such as `scale`.
    """
    # Gradio puts the page's own address before the URL of every file in its configuration, under any root path
    module = {
        "path": str(STATIC_FOLDER / "viewer.js"),
        "url": f"/gradio_api/file={(STATIC_FOLDER / 'viewer.js').as_posix()}",
        "meta": {"_type": "gradio.FileData"},
    }
    return gr.HTML(
        state.to_value() if state else None,
        html_template=TEMPLATE,
        css_template=f"height: {height};",
        js_on_load=SCRIPT,
        apply_default_css=False,
        elem_id=elem_id,
        module=module,
        **options,
    )


def center_on(elem_id: str, index: int, film: int = 0) -> str:
    """Return JavaScript for the `js=` of a chip's click: center the viewer on a finding."""
    return f"() => {{ {_viewer(elem_id)}?.centerOn({int(index)}, {int(film)}); }}"


def with_measurements(elem_id: str) -> str:
    """Return JavaScript for the `js=` of an event whose last input, a hidden Textbox, receives the measurements."""
    return f"(...inputs) => [...inputs.slice(0, -1), JSON.stringify({_viewer(elem_id)}?.measurements() ?? null)]"


def _viewer(elem_id: str) -> str:
    return f"document.querySelector({json.dumps(f'#{elem_id} .film-viewer')})?.viewer"
