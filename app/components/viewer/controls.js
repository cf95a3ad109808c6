// The tool row and the list of keys; and the elements that panels.js fills.

import { KEYS } from "./input.js";
import { PALETTES } from "./maps.js";
import { button, h, showLegend, showScale } from "./panels.js";
import { TOOLS } from "./tools.js";
import { MODES } from "./view.js";

let count = 0;

const FULL_SCREEN_ICON =
  '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="none" stroke="currentColor" ' +
  'stroke-width="1.8"><path d="M1 6V1h5M10 1h5v5M15 10v5h-5M6 15H1v-5"/></svg>';

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
          const input = h("input", {
            type: "radio",
            name,
            value,
            disabled: !enabled,
            "aria-label": title,
            onchange: () => onchoice(value),
          });
          node.append(
            h("label", { title: enabled ? title : "Offered once the film is analyzed" }, input, h("span", {}, text)),
          );
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
    width: slider("Width", { min: 0.01, max: 1.5, step: 0.005 }, (value) =>
      viewer.setWindow(view.window.center, value),
    ),
    preset: h("select", { "aria-label": "Window", onchange: () => viewer.setPreset(parts.preset.value) }),
    palette: h(
      "select",
      { "aria-label": "Map colors", onchange: () => viewer.setPalette(parts.palette.value) },
      ...Object.keys(PALETTES).map((name) => h("option", {}, name)),
    ),
    invert: button("Invert", "Invert (I)", () => viewer.setInverted(!view.inverted)),
    fullScreen: button("", "Full screen (F)", () => viewer.toggleFullScreen()),
    more: button("Tools", "Tools", () => viewer.openTools(), { class: "fv-more" }),
    canvas: h("canvas", { "aria-hidden": "true" }),
    overlay: document.createElementNS("http://www.w3.org/2000/svg", "svg"),
    pointer: h("p", { class: "fv-pointer" }),
    ruler: h("span", { class: "fv-5cm", hidden: true }, "5 cm"),
    scale: h("span", { class: "fv-scale" }),
    legend: h("div", { class: "fv-legend" }),
    hint: h("p", { class: "fv-hint" }),
    empty: h("div", { class: "fv-empty" }),
    panes: h("div", { class: "fv-names" }),
    measured: h("ol", { class: "fv-panel fv-measured", "aria-label": "Measurements" }),
    notice: h("div", { class: "fv-panel fv-notice", role: "alert" }),
    status: h("div", { class: "fv-status", role: "status" }),
    description: h("p", { class: "fv-hidden", id: `${id}-description` }),
    live: h("p", { class: "fv-hidden", "aria-live": "polite" }),
    help: h("dialog", { class: "fv-help", "aria-label": "Keys" }),
  };
  parts.overlay.setAttribute("class", "fv-overlay");
  parts.opacity.node.classList.add("fv-opacity");
  parts.fullScreen.innerHTML = FULL_SCREEN_ICON;
  parts.zoom = h(
    "div",
    { class: "fv-zoom" },
    button("−", "Reduce (−)", () => viewer.zoom(0.8)),
    button("Fit", "Whole film", () => viewer.fit()),
    button("1:1", "100 %: one film pixel is one screen pixel (0)", () => viewer.zoomTo(1)),
    button("+", "Magnify (+)", () => viewer.zoom(1.25)),
  );
  parts.stage = h(
    "div",
    {
      class: "fv-stage",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "film viewer",
      "aria-label": "Film",
      "aria-describedby": `${id}-description`,
    },
    parts.canvas,
    parts.overlay,
    parts.panes,
    parts.pointer,
    parts.ruler,
    parts.hint,
    parts.empty,
    parts.status,
    parts.measured,
    parts.notice,
  );
  parts.foot = h("div", { class: "fv-foot" }, parts.legend, parts.scale, parts.zoom);
  parts.bar = h(
    "div",
    { class: "fv-bar", role: "toolbar", "aria-label": "Viewer" },
    h(
      "div",
      { class: "fv-row" },
      parts.modes.node,
      parts.maps.node,
      parts.opacity.node,
      parts.threshold.node,
      h(
        "span",
        { class: "fv-end" },
        parts.more,
        parts.fullScreen,
        button("?", "Keys (?)", () => viewer.showHelp()),
      ),
    ),
    h(
      "div",
      { class: "fv-row fv-extra" },
      parts.tools.node,
      parts.preset,
      parts.level.node,
      parts.width.node,
      parts.invert,
      button("Reset", "Reset zoom and window (R)", () => viewer.reset()),
      parts.palette,
    ),
  );
  parts.help.append(
    h("h2", {}, "Keys"),
    h("dl", {}, ...KEYS.flatMap(([keys, text]) => [h("dt", {}, keys), h("dd", {}, text)])),
    h("p", {}, "Wheel: magnify at the pointer. Drag: move. Two fingers: move and magnify. Long press: tools."),
    button("Close", "Close", () => parts.help.close()),
  );
  root.replaceChildren(parts.bar, parts.stage, parts.foot, parts.description, parts.live, parts.help);
  parts.opacity.input.value = look.opacity;
  return parts;
}

/** Show the viewer's state in its controls. */
export function refresh(parts, viewer) {
  const { view, look, tools } = viewer;
  const set = ({ input, output }, value, text) => {
    input.value = value;
    output.textContent = text;
    if (text) input.setAttribute("aria-valuetext", text);
    else input.removeAttribute("aria-valuetext");
  };
  const percent = (value) => `${Math.round(100 * value)} %`;
  const film = viewer.films[0];
  parts.modes.show(
    MODES.map(([mode, text]) => [mode, text, mode === "film" || viewer.hasNormal]),
    view.mode,
  );
  parts.maps.show(viewer.mapChoices(), film?.maps.length && look.overlays ? look.map : "off");
  parts.tools.show(
    TOOLS.map(([tool, text, title]) => [tool, text, Boolean(film), title]),
    tools.tool,
  );
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
  showScale(parts, viewer);
  showLegend(parts.legend, viewer, map);
}
