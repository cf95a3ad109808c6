// Rulers, the cardiothoracic ratio and areas, drawn over the film, and the outlines of the findings.

import { arrangeLabels } from "./labels.js";
import { describe, evaluate, signedText } from "./measure.js";

// value, text, longer name, what to do
export const TOOLS = [
  ["move", "Move", "Move the film", ""],
  ["ruler", "Ruler", "Measure a length", "Draw a line"],
  [
    "ratio",
    "CTR",
    "Cardiothoracic ratio, by two lines",
    "Draw the widest line across the heart, then across the inside of the chest",
  ],
  ["rectangle", "Area", "Mean difference inside a rectangle", "Draw a rectangle"],
];
const SVG = "http://www.w3.org/2000/svg";
const TITLE_HEIGHT = 28; // CSS pixels at a pane's upper edge, where its name may stand
const LINES = [
  ["heart", "Heart"],
  ["thorax", "Chest"],
];

function element(name, attributes = {}, text = "") {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text) node.textContent = text;
  return node;
}

export class Tools {
  /** viewer: gives view, films and findings, and is told of changes by measurementsChanged(). */
  constructor(svg, viewer) {
    Object.assign(this, {
      svg,
      viewer,
      tool: "move",
      measurements: [],
      parts: [],
      labels: [],
      drawing: null,
      showsFindings: true,
      next: 1,
    });
  }

  // --- the model ---

  /** Begin a shape at a place {x, y} of a film. It follows `drag` until `finish`. */
  begin(film, place) {
    const points = [{ ...place }, { ...place }];
    const last = this.measurements.at(-1);
    if (this.tool === "ratio" && last?.kind === "ratio" && last.film === film && !last.lines.film.thorax) {
      last.lines.film.thorax = points;
      this.drawing = { measurement: last, points };
    } else {
      const measurement = {
        id: this.next++,
        kind: this.tool,
        film,
        points,
        lines: { film: { heart: points } },
        adjusted: false,
      };
      this.measurements.push(measurement);
      this.drawing = { measurement, points };
    }
    this.rebuild();
  }

  drag(place) {
    if (!this.drawing) return;
    Object.assign(this.drawing.points[1], place);
    this.place();
  }

  finish() {
    if (!this.drawing) return;
    const { measurement, points } = this.drawing;
    this.drawing = null;
    const film = this.viewer.films[measurement.film];
    const moved = Math.hypot((points[1].x - points[0].x) * film.width, (points[1].y - points[0].y) * film.height) >= 2;
    if (!moved) this.undo(measurement, points);
    this.carryOver();
    this.viewer.measurementsChanged(moved ? describe(measurement, film) : "");
  }

  undo(measurement, points) {
    if (measurement.lines.film.thorax === points) delete measurement.lines.film.thorax;
    else this.measurements = this.measurements.filter((other) => other !== measurement);
  }

  /** Give the normal film its own copy of each finished ratio's lines, once there is a normal film. */
  carryOver() {
    for (const { kind, film, lines } of this.measurements) {
      if (kind !== "ratio" || lines.normal || !lines.film.thorax || !this.viewer.films[film]?.hasNormal) continue;
      lines.normal = structuredClone(lines.film);
    }
  }

  /** A shape of the chosen tool in the middle of what is seen, to be moved by its handles: drawing without a mouse. */
  insert() {
    const { view, films } = this.viewer;
    const pane = view.panes[0];
    const half = (0.2 * Math.min(pane.width, pane.height)) / view.scaleOf(pane.film);
    const reach = {
      x: half / films[pane.film].width,
      y: this.tool === "rectangle" ? half / films[pane.film].height : 0,
    };
    const lines =
      this.tool === "ratio"
        ? [
            [0, 0.6],
            [0.1, 1],
          ]
        : [[0, 1]];
    for (const [below, factor] of lines) {
      const { x, y } = view.center;
      this.begin(pane.film, { x: x - factor * reach.x, y: y - reach.y + below });
      this.drag({ x: x + factor * reach.x, y: y + reach.y + below });
      this.finish();
    }
    this.svg.querySelector(`[data-id="${this.measurements.at(-1)?.id}"][data-handle]`)?.focus({ preventScroll: true });
  }

  erase(id) {
    this.measurements = id === undefined ? [] : this.measurements.filter((measurement) => measurement.id !== id);
    this.viewer.measurementsChanged("Erased");
  }

  /** Move a handle, as a mouse or an arrow key does. */
  moveHandle(handle, place) {
    const { measurement, layer, point } = handle;
    Object.assign(point, place);
    if (layer === "normal") measurement.adjusted = true;
    else if (measurement.kind === "ratio" && measurement.lines.normal && !measurement.adjusted) {
      measurement.lines.normal = structuredClone(measurement.lines.film);
      this.rebuild();
      return;
    }
    this.place();
  }

  handleOf(node) {
    return this.parts.find((part) => part.node === node)?.handle;
  }

  // --- the picture ---

  /** Make the elements anew: for other panes, findings or measurements. `place` then moves them with the view. */
  rebuild() {
    const focused = document.activeElement?.dataset?.key;
    this.parts = [];
    this.labels = [];
    this.svg.replaceChildren();
    this.viewer.view.panes.forEach((pane, index) => {
      const group = element("svg", { class: "fv-pane", "data-pane": index });
      this.svg.append(group);
      this.parts.push({ node: group, update: () => this.clip(group, pane) });
      const first = this.labels.length;
      if (this.showsFindings) this.addFindings(group, pane);
      const findings = this.labels.splice(first);
      for (const measurement of this.measurements) {
        if (measurement.film === pane.film) this.addMeasurement(group, pane, index, measurement);
      }
      this.labels.push(...findings); // what the reader drew is named first
    });
    if (focused) this.svg.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
    this.place();
  }

  place() {
    for (const { update } of this.parts) update();
    for (const pane of this.viewer.view.panes) {
      arrangeLabels(
        this.labels.filter((label) => label.pane === pane),
        this.visiblePart(pane),
      );
    }
  }

  /** The part of a pane, in CSS pixels from its corner, that shows the film and is free of its name. */
  visiblePart(pane) {
    const [from, to] = [this.project(pane, { x: 0, y: 0 }), this.project(pane, { x: 1, y: 1 })];
    const [x, y] = [Math.max(from.x, 0), Math.max(from.y, TITLE_HEIGHT)];
    const { ratio } = this.viewer;
    return { x, y, width: Math.min(to.x, pane.width / ratio) - x, height: Math.min(to.y, pane.height / ratio) - y };
  }

  clip(group, pane) {
    const { ratio } = this.viewer;
    for (const side of ["x", "y", "width", "height"]) group.setAttribute(side, pane[side] / ratio);
  }

  /** A film's place in CSS pixels of the pane's own corner. */
  project(pane, place) {
    const { x, y } = this.viewer.view.toCanvas(pane, place);
    return { x: (x - pane.x) / this.viewer.ratio, y: (y - pane.y) / this.viewer.ratio };
  }

  addFindings(group, pane) {
    this.viewer.films[pane.film].findings.forEach(({ box, outline, stands_out, known }, index) => {
      const [top, left, bottom, right] = box;
      const corners =
        outline?.length > 2
          ? outline
          : [
              [top, left],
              [top, right],
              [bottom, right],
              [bottom, left],
            ];
      const active = pane.film === this.viewer.finding.film && index === this.viewer.finding.index;
      const kinds = { "fv-stands-out": stands_out, "fv-known": known, "fv-active": active };
      const kind = ["fv-finding", ...Object.keys(kinds).filter((name) => kinds[name])].join(" ");
      const polygon = element("polygon", { class: kind, "data-finding": index });
      const label = this.addLabel(group, pane, String(index + 1));
      group.insertBefore(polygon, label.node);
      this.parts.push({
        node: polygon,
        update: () => {
          label.points = label.beside = corners.map(([y, x]) => this.project(pane, { x, y }));
          polygon.setAttribute("points", label.points.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
        },
      });
    });
  }

  /** A text beside a shape, which keeps the label's points up to date; see `arrangeLabels`. */
  addLabel(group, pane, text = "") {
    const node = element("text", { class: "fv-label", "text-anchor": "middle" }, text);
    group.append(node);
    const label = { node, pane, points: [], beside: [] };
    this.labels.push(label);
    return label;
  }

  addMeasurement(group, pane, paneIndex, measurement) {
    if (measurement.kind !== "ratio") {
      this.addShape(group, pane, paneIndex, { measurement, layer: "film", name: "", points: measurement.points });
      return;
    }
    for (const layer of pane.layers) {
      // in a swipe both films' lines share the pane: the normal film's are drawn once they differ
      if (layer === "normal" && pane.layers.length > 1 && !measurement.adjusted) continue;
      const lines = measurement.lines[layer];
      for (const [line, name] of LINES) {
        if (lines?.[line]) this.addShape(group, pane, paneIndex, { measurement, layer, name, points: lines[line] });
      }
    }
  }

  addShape(group, pane, paneIndex, { measurement, layer, name, points }) {
    const rectangle = measurement.kind === "rectangle";
    const shape = element(rectangle ? "rect" : "line", {
      class: `fv-shape${layer === "normal" ? " fv-of-normal" : ""}`,
    });
    group.append(shape);
    const label = this.addLabel(group, pane);
    this.parts.push({
      node: shape,
      update: () => {
        const [from, to] = points.map((point) => this.project(pane, point));
        if (rectangle) {
          const [x, y] = [Math.min(from.x, to.x), Math.min(from.y, to.y)];
          const sides = { x, y, width: Math.abs(to.x - from.x), height: Math.abs(to.y - from.y) };
          for (const [key, value] of Object.entries(sides)) shape.setAttribute(key, value);
        } else {
          for (const [key, value] of Object.entries({ x1: from.x, y1: from.y, x2: to.x, y2: to.y }))
            shape.setAttribute(key, value);
        }
        label.node.textContent = this.short(measurement, layer, name);
        label.points = [from, to];
        const [x, y] = [(from.x + to.x) / 2, (from.y + to.y) / 2];
        label.beside = rectangle ? label.points.flatMap((end) => [{ x, y: end.y }, { x: end.x, y }]) : [{ x, y }];
      },
    });
    points.forEach((point, end) => {
      const key = `${measurement.id}-${paneIndex}-${layer}-${name}-${end}`;
      const what = {
        ruler: "Ruler",
        ratio: `${name} line${layer === "normal" ? " on the normal film" : ""}`,
        rectangle: "Area",
      };
      const node = element("circle", {
        class: "fv-handle",
        r: 6,
        tabindex: 0,
        role: "button",
        "data-handle": "",
        "data-key": key,
        "data-id": measurement.id,
        "aria-label": `${what[measurement.kind]}, end ${end + 1}: arrow keys move it, Delete erases`,
      });
      group.append(node);
      const handle = { measurement, layer, point, pane };
      this.parts.push({
        node,
        handle,
        update: () => {
          const { x, y } = this.project(pane, point);
          node.setAttribute("cx", x);
          node.setAttribute("cy", y);
        },
      });
    });
  }

  /** What is written beside a shape. */
  short(measurement, layer, name) {
    const numbers = evaluate(measurement, this.viewer.films[measurement.film]);
    if (measurement.kind === "ruler")
      return `${numbers.length.value.toFixed(numbers.length.unit === "mm" ? 1 : 0)} ${numbers.length.unit}`;
    if (measurement.kind === "rectangle")
      return numbers.difference === null ? "" : signedText(numbers.difference, numbers.map);
    const ratio = layer === "normal" ? numbers.normal : numbers.here;
    return name === "Heart" || ratio === null ? name : `${name} · ${ratio.toFixed(2)}`;
  }
}
