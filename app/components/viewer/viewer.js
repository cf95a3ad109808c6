// The film viewer: what a page, the controls, the mouse and the keys may ask for. See __init__.py for the value's
// schema.

import { Display } from "./display.js";
import { boundsOf, exported } from "./measure.js";
import * as panels from "./panels.js";
import { TOOLS } from "./tools.js";
import { FULL_RANGE, MODES } from "./view.js";

const GLIDE = 220; // milliseconds of the way to a finding
const FINDING_SHARE = 0.35; // of a pane's side that a finding fills when it is centered on

/**
 * Put a viewer into an element and show a value in it: a promise of the viewer, which is also `root.viewer`. options:
 * {renderer}, see render.js.
 */
export async function mount(root, value, options = {}) {
  const style = new URL("viewer.css", import.meta.url).href;
  if (![...document.querySelectorAll("link")].some(({ href }) => href === style)) {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: style });
    await new Promise((done) => {
      link.onload = link.onerror = done;
      document.head.append(link);
    });
  }
  root.viewer?.remove();
  root.viewer = new FilmViewer(root, options);
  await root.viewer.load(value);
  return root.viewer;
}

export class FilmViewer extends Display {
  setMode(mode) {
    if (mode !== "film" && !this.hasNormal) {
      this.parts.hint.textContent = "Normal is offered once the film is analyzed";
      return this.say(this.parts.hint.textContent);
    }
    this.parts.hint.textContent = "";
    this.view.mode = this.chosenMode = mode;
    this.rearranged();
    this.say(MODES.find(([name]) => name === mode)[1]);
  }

  setMap(map) {
    Object.assign(this.look, { map, overlays: true });
    this.startThreshold();
    this.rearranged();
    this.say(`Map: ${this.mapChoices().find(([value]) => value === map)?.[1]}`);
  }

  nextMap() {
    const offered = this.mapChoices()
      .filter(([, , enabled = true]) => enabled)
      .map(([value]) => value);
    this.setMap(offered[(offered.indexOf(this.look.map) + 1) % offered.length]);
  }

  toggleOverlays() {
    this.look.overlays = !this.look.overlays;
    this.tools.showsFindings = this.look.overlays;
    this.rearranged();
    this.say(this.look.overlays ? "Map and outlines on" : "Map and outlines off");
  }

  setThreshold(value) {
    this.look.threshold = Math.max(0, value);
    this.changed();
  }

  setOpacity(value) {
    this.look.opacity = Math.min(Math.max(value, 0), 1);
    this.changed();
  }

  setPalette(palette) {
    this.look.palette = palette;
    this.changed();
  }

  setTool(tool) {
    this.tools.tool = tool;
    const hint = TOOLS.find(([name]) => name === tool)[3];
    this.parts.hint.textContent = hint;
    this.root.classList.remove("fv-tools-open");
    this.changed();
    this.say(hint || "Move");
  }

  setWindow(center, width) {
    this.view.setWindow(center, width);
    this.look.preset = null;
    this.changed();
  }

  setPreset(name) {
    this.look.preset = name;
    this.applyPreset();
    this.changed();
  }

  setInverted(inverted) {
    this.view.inverted = inverted;
    this.changed();
    this.say(inverted ? "Inverted" : "Not inverted");
  }

  setSwipe(share) {
    this.view.swipe = Math.min(Math.max(share, 0), 1);
    panels.moveDividers(this.parts.panes, this);
    this.changed();
  }

  /** Magnify by a factor, at a place of the canvas or in the middle. */
  zoom(factor, at) {
    this.zoomTo(this.films.length ? this.view.drawnScale * factor : 1, at);
  }

  /** Canvas pixels per film pixel; 1 shows each film pixel as one pixel of the screen. */
  zoomTo(scale, at) {
    if (!this.films.length) return;
    this.moving = 0;
    this.view.zoomTo(scale, at);
    this.changed();
  }

  /** Move the film by CSS pixels. */
  pan(x, y) {
    if (!this.films.length) return;
    this.moving = 0;
    this.view.pan(x * this.ratio, y * this.ratio);
    this.changed();
  }

  fit() {
    this.moving = 0;
    this.view.fit();
    this.changed();
  }

  reset() {
    this.view.inverted = false;
    this.look.preset = this.value.window ?? FULL_RANGE.name;
    this.applyPreset();
    this.fit();
    this.say("Reset");
  }

  /** Center on a finding, by its index in the value; the chips outside of the viewer call this. */
  centerOn(index, film = 0) {
    const finding = this.films[film]?.findings[index];
    if (!finding) return;
    this.finding = { film, index };
    const [top, left, bottom, right] = finding.box;
    const { width, height } = this.films[film];
    const pane = this.view.panes.find((candidate) => candidate.film === film);
    const own =
      Math.min(pane.width / ((right - left) * width), pane.height / ((bottom - top) * height)) * FINDING_SHARE;
    const scale = Math.min(
      Math.max((own * height) / this.films[0].height, this.view.fitting),
      4 * Math.max(1, this.view.fitting),
    );
    this.tools.rebuild();
    this.glide({ x: (left + right) / 2, y: (top + bottom) / 2, scale });
    this.say(`Finding ${index + 1}: ${[finding.label, finding.value].filter(Boolean).join(", ")}`);
    this.emit("finding", { index, film });
  }

  stepFinding(step) {
    const all = this.films[0]?.findings.length ?? 0;
    if (all) this.centerOn((Math.max(this.finding.index, step < 0 ? 0 : -1) + step + all) % all);
  }

  glide(to) {
    const { center, drawnScale } = this.view;
    const run = (this.moving = performance.now());
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const step = (now) => {
      if (this.moving !== run) return;
      const share = still ? 1 : Math.min(Math.max((now - run) / GLIDE, 0), 1);
      const eased = share * (2 - share);
      this.view.scale = drawnScale * (to.scale / drawnScale) ** eased;
      this.view.moveTo({ x: center.x + (to.x - center.x) * eased, y: center.y + (to.y - center.y) * eased });
      this.changed();
      if (share < 1) requestAnimationFrame(step);
    };
    step(run);
  }

  toggleFullScreen() {
    if (document.fullscreenElement === this.root) document.exitFullscreen();
    else if (this.root.requestFullscreen) this.root.requestFullscreen().catch(() => this.fill());
    else this.fill();
  }

  /** Where the browser has no full screen for elements (iPhone), the viewer fills the window. */
  fill() {
    this.root.classList.toggle("fv-fills");
    this.rearranged();
  }

  /** Leave what fills the window without the browser's own full screen; otherwise put the tool down. */
  escape() {
    if (this.root.classList.contains("fv-fills")) this.fill();
    else this.setTool("move");
  }

  openTools() {
    this.root.classList.toggle("fv-tools-open");
  }

  showHelp() {
    this.parts.help.showModal();
  }

  /** All measurements as plain values, as in the schema. */
  measurements() {
    return exported(this.tools.measurements, this.films);
  }

  explain({ film, points }) {
    const { top, left, bottom, right } = boundsOf(points);
    this.emit("explain", { film, box: [top, left, bottom, right].map((share) => Math.min(Math.max(share, 0), 1)) });
  }

  /** Ask to explain a finding, by its index in the value. */
  explainFinding(index, film = 0) {
    const finding = this.films[film]?.findings[index];
    if (finding) this.emit("explain", { film, box: finding.box, finding: index });
  }

  // --- events and announcements ---

  emit(name, detail) {
    this.root.dispatchEvent(new CustomEvent(`viewer-${name}`, { detail, bubbles: true }));
  }

  say(text) {
    this.parts.live.textContent = text;
  }

  measurementsMoved() {
    panels.showMeasurements(this.parts.measured, this);
  }

  measurementsChanged(text) {
    this.tools.rebuild();
    this.measurementsMoved();
    if (text) this.say(text);
    this.emit("measure", this.measurements());
  }

  /** Show the values at a place of the canvas; null when the pointer has left. */
  pointAt(point) {
    const pane = point && this.films.length ? this.view.paneAt(point) : null;
    this.parts.pointer.textContent = pane ? panels.valuesAt(this.films[pane.film], this.view.toFilm(pane, point)) : "";
  }
}
