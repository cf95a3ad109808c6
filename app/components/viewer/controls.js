// The tool row, the corners of the picture, the list of measurements and the list of keys.

import { KEYS } from "./input.js";
import { PALETTES, valueAt } from "./maps.js";
import { describe, signedText } from "./measure.js";
import { TOOLS } from "./tools.js";
import { FULL_RANGE, MODES } from "./view.js";

let count = 0;

/** A DOM element. Attributes that begin with "on" are listeners; children are elements or texts. */
function h(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

const button = (text, label, onclick, attributes = {}) =>
  h("button", { type: "button", "aria-label": label, title: label, onclick, ...attributes }, text);

const FULL_SCREEN_ICON = '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path d="M1 6V1h5M10 1h5v5M15 10v5h-5M6 15H1v-5" '
  + 'fill="none" stroke="currentColor" stroke-width="1.8"/></svg>';

function slider(label, { min, max, step }, oninput) {
  const input = h("input", { type: "range", min, max, step, oninput: () => oninput(Number(input.value)) });
  const output = h("output", {});
  return { input, output, node: h("label", { class: "fv-slider" }, h("span", {}, label), input, output) };
}

/** Radio buttons drawn as one bar. options: [[value, text, enabled, longer name]]. */
function choices(name, label, onchoice) {
  const node = h("fieldset", { class: "fv-choices" }, h("legend", {}, label));
  let written = "";
  return {
    node,
    show(options, chosen) {
      const state = JSON.stringify(options);
      if (state !== written) {
        written = state;
        node.querySelectorAll("label").forEach((old) => old.remove());
        for (const [value, text, enabled = true, title = text] of options) {
          const input = h("input", { type: "radio", name, value, disabled: !enabled, "aria-label": title, onchange: () => onchoice(value) });
          node.append(h("label", { title: enabled ? title : "Offered once the film is analyzed" }, input, h("span", {}, text)));
        }
      }
      for (const input of node.querySelectorAll("input")) input.checked = input.value === chosen;
    },
  };
}

/** Build everything inside the root element and return the parts that `refresh` and the viewer need. */
export function build(root, viewer) {
  const id = `fv-${++count}`;
  const { look, view } = viewer;
  const parts = {
    modes: choices(`${id}-mode`, "Show", (mode) => viewer.setMode(mode)),
    maps: choices(`${id}-map`, "Map", (map) => viewer.setMap(map)),
    tools: choices(`${id}-tool`, "Mouse", (tool) => viewer.setTool(tool)),
    opacity: slider("Opacity", { min: 0, max: 1, step: 0.05 }, (value) => viewer.setOpacity(value)),
    threshold: slider("Threshold", { min: 0, max: 1, step: 0.01 }, (value) => viewer.setThreshold(value)),
    level: slider("Level", { min: 0, max: 1, step: 0.005 }, (value) => viewer.setWindow(value, view.window.width)),
    width: slider("Width", { min: 0.01, max: 1.5, step: 0.005 }, (value) => viewer.setWindow(view.window.center, value)),
    preset: h("select", { "aria-label": "Window", onchange: () => viewer.setPreset(parts.preset.value) }),
    palette: h("select", { "aria-label": "Map colors", onchange: () => viewer.setPalette(parts.palette.value) },
      ...Object.keys(PALETTES).map((name) => h("option", {}, name))),
    invert: button("Invert", "Invert (I)", () => viewer.setInverted(!view.inverted)),
    fullScreen: button("", "Full screen (F)", () => viewer.toggleFullScreen()),
    more: button("Tools", "Tools", () => viewer.openTools(), { class: "fv-more" }),
    canvas: h("canvas", { "aria-hidden": "true" }),
    overlay: document.createElementNS("http://www.w3.org/2000/svg", "svg"),
    pointer: h("p", { class: "fv-pointer" }),
    scale: h("p", { class: "fv-scale" }),
    legend: h("div", { class: "fv-legend" }),
    hint: h("p", { class: "fv-hint" }),
    panes: h("div", { class: "fv-names" }),
    measured: h("ol", { class: "fv-panel fv-measured", "aria-label": "Measurements" }),
    notice: h("div", { class: "fv-panel fv-notice", role: "alert" }),
    status: h("div", { class: "fv-status", role: "status" }),
    description: h("p", { class: "fv-hidden", id: `${id}-description` }),
    live: h("p", { class: "fv-hidden", "aria-live": "polite" }),
    help: h("dialog", { class: "fv-help", "aria-label": "Keys" }),
  };
  parts.overlay.setAttribute("class", "fv-overlay");
  parts.fullScreen.innerHTML = FULL_SCREEN_ICON;
  parts.zoom = h("div", { class: "fv-zoom" },
    button("−", "Reduce (−)", () => viewer.zoom(0.8)), button("Fit", "Whole film", () => viewer.fit()),
    button("1:1", "100 %: one film pixel is one screen pixel (0)", () => viewer.zoomTo(1)),
    button("+", "Magnify (+)", () => viewer.zoom(1.25)));
  parts.stage = h("div", {
    class: "fv-stage", tabindex: "0", role: "application", "aria-roledescription": "film viewer", "aria-label": "Film",
    "aria-describedby": `${id}-description`,
  }, parts.canvas, parts.overlay, parts.panes, parts.legend, parts.pointer, parts.scale, parts.hint, parts.status,
  parts.measured, parts.zoom, parts.notice);
  parts.bar = h("div", { class: "fv-bar", role: "toolbar", "aria-label": "Viewer" },
    h("div", { class: "fv-row" }, parts.modes.node, parts.maps.node, parts.opacity.node, parts.threshold.node,
      h("span", { class: "fv-end" }, parts.more, parts.fullScreen, button("?", "Keys (?)", () => viewer.showHelp()))),
    h("div", { class: "fv-row fv-extra" }, parts.tools.node, parts.preset, parts.level.node, parts.width.node, parts.invert,
      button("Reset", "Reset zoom and window (R)", () => viewer.reset()), parts.palette));
  parts.help.append(
    h("h2", {}, "Keys"),
    h("dl", {}, ...KEYS.flatMap(([keys, text]) => [h("dt", {}, keys), h("dd", {}, text)])),
    h("p", {}, "Wheel: magnify at the pointer. Drag: move. Two fingers: move and magnify. Long press: tools."),
    button("Close", "Close", () => parts.help.close()));
  root.replaceChildren(parts.bar, parts.stage, parts.description, parts.live, parts.help);
  parts.opacity.input.value = look.opacity;
  return parts;
}

/** Show the viewer's state in its controls. */
export function refresh(parts, viewer) {
  const { view, look, tools } = viewer;
  const set = ({ input, output }, value, text) => { input.value = value; output.textContent = text; input.setAttribute("aria-valuetext", text); };
  const percent = (value) => `${Math.round(100 * value)} %`;
  const film = viewer.films[0];
  parts.modes.show(MODES.map(([mode, text]) => [mode, text, mode === "film" || viewer.hasNormal]), view.mode);
  parts.maps.show(viewer.mapChoices(), film?.maps.length && look.overlays ? look.map : "off");
  parts.tools.show(TOOLS.map(([tool, text, title]) => [tool, text, Boolean(film), title]), tools.tool);
  const map = viewer.mapOf(0);
  for (const { input } of [parts.opacity, parts.threshold]) input.disabled = !map;
  parts.palette.disabled = !map;
  set(parts.opacity, look.opacity, percent(look.opacity));
  if (map) Object.assign(parts.threshold.input, { max: 0.9 * map.full, step: map.full / 200 });
  set(parts.threshold, look.threshold, map ? `${(look.threshold * map.factor).toFixed(1)} ${map.unit}` : "");
  set(parts.level, view.window.center, percent(view.window.center));
  set(parts.width, view.window.width, percent(view.window.width));
  const presets = viewer.presets.map(({ name }) => name);
  const names = look.preset ? presets : [...presets, "Own window"];
  if ([...parts.preset.options].map(({ text }) => text).join() !== names.join()) {
    parts.preset.replaceChildren(...names.map((name) => h("option", {}, name)));
  }
  parts.preset.value = look.preset ?? "Own window";
  parts.palette.value = look.palette;
  parts.invert.setAttribute("aria-pressed", view.inverted);
  parts.fullScreen.setAttribute("aria-pressed", viewer.isFullScreen);
  parts.stage.dataset.tool = tools.tool;
  parts.stage.classList.toggle("fv-holds", tools.tool !== "move" || !view.isWhole || viewer.isFullScreen);
  showScale(parts.scale, viewer);
  showLegend(parts.legend, viewer, map);
}

/** Magnification, window and, where the spacing is known, a bar of five centimeters. */
function showScale(node, { films: [film], view, ratio }) {
  node.hidden = !film;
  if (!film) return;
  const percent = (value) => `${Math.round(100 * value)} %`;
  const { center, width } = view.window;
  node.replaceChildren(`${percent(view.drawnScale)} · level ${percent(center)} · width ${percent(width)}`);
  if (!film.spacing_mm) return;
  const length = ((50 / film.spacing_mm[1]) * view.drawnScale) / ratio;
  if (length < 400) node.prepend(h("span", { class: "fv-5cm", style: `width: ${length}px` }, "5 cm"));
}

/** The values at a place of a film, in words: grey, normal, maps and position; nothing outside of it. */
export function valuesAt(film, { x, y }) {
  if (x < 0 || x >= 1 || y < 0 || y >= 1) return "";
  const stored = (image) => image.data[Math.floor(y * image.height) * image.width + Math.floor(x * image.width)];
  const texts = [`grey ${stored(film.image)}`];
  if (film.normal) texts.push(`normal ${Math.round((stored(film.normal) / film.normal.maximum) * film.image.maximum)}`);
  for (const map of film.maps) {
    const value = valueAt(map, x, y);
    if (value === null) continue;
    texts.push(`${map.name.toLowerCase()} ${map.signed ? signedText(value, map) : `${(value * map.factor).toFixed(1)} ${map.unit}`}`);
  }
  const [row, column] = film.spacing_mm ?? [1, 1];
  const [across, down] = [x * film.width * column, y * film.height * row];
  texts.push(film.spacing_mm ? `${across.toFixed(1)}, ${down.toFixed(1)} mm` : `${Math.floor(across)}, ${Math.floor(down)} px`);
  return texts.join(" · ");
}

function showLegend(node, { look, colors }, map) {
  node.hidden = !map;
  if (!map) return;
  const value = (share) => `${(Math.abs(share) * map.full * map.factor).toFixed(0)} ${map.unit}`;
  const ends = colors.signed ? [`${value(1)} brighter`, `${value(1)} darker`] : [value(1), "0"];
  const stops = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((index) => {
    const share = 1 - index / 8;
    const hidden = (colors.signed ? Math.abs(2 * share - 1) : share) * map.full <= look.threshold;
    const at = 4 * Math.round(share * 255);
    return hidden ? "transparent" : `rgb(${colors.table.slice(at, at + 3).join(" ")})`;
  });
  node.replaceChildren(
    h("span", {}, map.name), h("span", {}, ends[0]),
    h("i", { style: `background-image: linear-gradient(${stops.join(", ")})` }), h("span", {}, ends[1]));
}

/** Names, tags and swipe dividers of the panes. */
export function showPanes(node, viewer) {
  const { view, films, ratio } = viewer;
  node.replaceChildren(...view.panes.flatMap((pane, index) => {
    const film = films[pane.film];
    const place = `left: ${pane.x / ratio}px; top: ${pane.y / ratio}px; width: ${pane.width / ratio}px; height: ${pane.height / ratio}px`;
    const tags = film.tags.map((tag) => h("small", {}, tag));
    const names = h("div", { class: "fv-title" }, ...pane.layers.map((layer, side) =>
      h("span", {}, layer === "film" ? film.name : film.normal_name, ...(side === 0 ? tags : []))));
    const frame = h("div", { class: "fv-frame", style: place }, names);
    if (pane.layers.length > 1) {
      const percent = Math.round(100 * view.swipe);
      const moves = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, Home: -1, End: 1, PageDown: -0.1, PageUp: 0.1 };
      frame.append(h("div", {
        class: "fv-divider", tabindex: "0", role: "slider", "aria-label": "Divider between film and normal", "aria-valuemin": 0,
        "aria-valuemax": 100, "aria-valuenow": percent, "aria-valuetext": `${percent} % film`, "data-key": `divider-${index}`,
        style: `left: ${100 * view.swipe}%`,
        onkeydown: (event) => {
          if (!(event.key in moves)) return;
          event.preventDefault();
          viewer.setSwipe(view.swipe + moves[event.key]);
        },
      }));
    }
    return [frame];
  }));
}

export function moveDividers(node, { view }) {
  const percent = Math.round(100 * view.swipe);
  for (const divider of node.querySelectorAll(".fv-divider")) {
    divider.style.left = `${100 * view.swipe}%`;
    divider.setAttribute("aria-valuenow", percent);
    divider.setAttribute("aria-valuetext", `${percent} % film`);
  }
}

export function showMeasurements(node, viewer) {
  const { measurements } = viewer.tools;
  node.hidden = !measurements.length;
  node.replaceChildren(...measurements.map((measurement) => {
    const text = describe(measurement, viewer.films[measurement.film]);
    const item = h("li", {}, h("span", {}, viewer.films.length > 1 ? `${viewer.films[measurement.film].name}: ${text}` : text));
    if (measurement.kind === "rectangle") {
      item.append(button("Explain this region", `Explain this region: ${text}`, () => viewer.explain(measurement)));
    }
    item.append(button("×", `Erase: ${text}`, () => viewer.tools.erase(measurement.id)));
    return item;
  }));
  if (measurements.length > 1) node.append(h("li", {}, button("Erase all", "Erase all measurements", () => viewer.tools.erase())));
}

export function showNotice(node, notice, onaction) {
  node.hidden = !notice;
  if (!notice) { node.replaceChildren(); return; }
  node.replaceChildren(h("p", {}, notice.text),
    ...(notice.actions ?? []).map(({ id, label }) => button(label, label, () => onaction(id))));
}

export function showStatus(node, status) {
  node.hidden = !status;
  node.replaceChildren(...(status ? [h("span", {}, status.text)] : []));
  if (status && status.share !== null && status.share !== undefined) {
    node.append(h("progress", { max: 1, value: status.share, "aria-label": status.text }));
  }
}

/** The films in words, for screen readers. */
export function describeFilms({ films, value }) {
  if (!films.length) return "No film is loaded.";
  const sentences = films.map((film) => {
    const findings = film.findings.map(({ label, value: number }, index) => `${index + 1}: ${[label, number].filter(Boolean).join(", ")}`);
    const normal = film.hasNormal ? " What is normal for this record can be shown beside it." : "";
    return `${film.name}, ${film.width} by ${film.height} pixels.${normal}${findings.length ? ` Findings: ${findings.join("; ")}.` : ""}`;
  });
  return [value.description, ...sentences, "Press question mark for the keys."].filter(Boolean).join(" ");
}

export const allPresets = (presets) => [FULL_RANGE, ...presets];
