// The film viewer: holds what is shown, draws it on demand, and is what a page talks to. See __init__.py for the value's schema.

import * as controls from "./controls.js";
import { FilmStore } from "./films.js";
import { listen } from "./input.js";
import { PALETTES, colorTable, mapDifference } from "./maps.js";
import { boundsOf, exported } from "./measure.js";
import { createRenderer } from "./render.js";
import { TOOLS, Tools } from "./tools.js";
import { FULL_RANGE, MODES, View } from "./view.js";

const GLIDE = 220; // milliseconds of the way to a finding
const FINDING_SHARE = 0.35; // of a pane's side that a finding fills when it is centered on

/** Put a viewer into an element and show a value in it: a promise of the viewer, which is also `root.viewer`. options: {renderer}, see render.js. */
export async function mount(root, value, options = {}) {
  const style = new URL("viewer.css", import.meta.url).href;
  if (![...document.querySelectorAll("link")].some(({ href }) => href === style)) {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: style });
    await new Promise((done) => { link.onload = link.onerror = done; document.head.append(link); });
  }
  root.viewer?.remove();
  root.viewer = new FilmViewer(root, options);
  await root.viewer.load(value);
  return root.viewer;
}

export class FilmViewer {
  constructor(root, { renderer } = {}) {
    Object.assign(this, { root, films: [], value: {}, presets: [FULL_RANGE], finding: { film: 0, index: -1 }, ratio: 1 });
    Object.assign(this, { store: new FilmStore(), loads: 0, pending: false, moving: 0 });
    this.view = new View();
    this.look = { map: "0", palette: Object.keys(PALETTES)[0], opacity: 0.6, threshold: 0, preset: FULL_RANGE.name, overlays: true };
    root.classList.add("film-viewer");
    this.parts = controls.build(root, this);
    this.tools = new Tools(this.parts.overlay, this);
    this.renderer = createRenderer(this.parts.canvas, () => this.changed(), renderer);
    this.stopListening = listen(this.parts.stage, this);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.parts.stage);
    this.onFullScreen = () => this.rearranged();
    document.addEventListener("fullscreenchange", this.onFullScreen);
    this.resize();
  }

  remove() {
    this.observer.disconnect();
    this.stopListening();
    document.removeEventListener("fullscreenchange", this.onFullScreen);
    this.root.replaceChildren();
  }

  // --- what is shown ---

  /** Show a value. Zoom, window and measurements stay while the first film is the same; a newer call outruns this one. */
  async load(value) {
    const load = ++this.loads;
    const wanted = value ?? {};
    controls.showStatus(this.parts.status, wanted.status);
    controls.showNotice(this.parts.notice, wanted.notice, (id) => this.emit("action", { id }));
    let films;
    try {
      films = await this.store.read(wanted.films ?? []);
    } catch (error) {
      if (load === this.loads) controls.showNotice(this.parts.notice, { text: error.message });
      return;
    }
    if (load !== this.loads) return;
    const same = films[0]?.image === this.films[0]?.image;
    Object.assign(this, { films, value: wanted, presets: controls.allPresets(wanted.presets ?? []) });
    this.between = null;
    if (!same) this.restart();
    else this.tools.measurements = this.tools.measurements.filter(({ film }) => film < films.length);
    if (!this.hasNormal) this.view.mode = "film";
    if (this.finding.index >= (films[this.finding.film]?.findings.length ?? 0)) this.finding = { film: 0, index: -1 };
    this.startThreshold();
    this.tools.carryOver();
    this.renderer.retain(new Set(films.flatMap(({ image, normal, maps }) => [image, normal, ...maps.map(({ fine }) => fine)])));
    this.rearranged();
    controls.showMeasurements(this.parts.measured, this);
    this.parts.description.textContent = controls.describeFilms(this);
  }

  restart() {
    this.tools.measurements = [];
    this.finding = { film: 0, index: -1 };
    this.view.fit();
    this.view.inverted = false;
    this.look.preset = this.value.window ?? FULL_RANGE.name;
    this.applyPreset();
  }

  get hasNormal() { return this.films.some(({ hasNormal }) => hasNormal); }

  get isFullScreen() { return document.fullscreenElement === this.root || this.root.classList.contains("fv-fills"); }

  /** The map that lies over a film, or null. */
  mapOf(film) {
    const { map, overlays } = this.look;
    const maps = this.films[film]?.maps;
    if (!overlays || !maps?.length || map === "off") return null;
    if (map === "size") return maps.find(({ signed }) => signed) ?? null;
    if (map !== "between") return maps[Number(map)] ?? null;
    if (film > 0 || !this.comparable) return null;
    const name = `${this.films[0].name} minus ${this.films[1].name}, not aligned`;
    this.between ??= mapDifference(this.films[0].maps[0], this.films[1].maps[0], name);
    return this.between;
  }

  get comparable() { return Boolean(this.films[1]?.maps.length && this.films[0].maps.length); }

  mapChoices() {
    const maps = this.films[0]?.maps ?? [];
    const signed = maps.some((map) => map.signed);
    const named = maps.length ? maps.map(({ name }, index) => [String(index), name]) : [["0", "Difference", false]];
    const second = this.films.length > 1 ? [["between", "Between", this.comparable, "Between films"]] : [];
    return [...named, ["size", "Size", signed], ...second, ["off", "Off"]];
  }

  /** The color table of the map that is shown. */
  get colors() {
    const signed = this.look.map !== "size" && this.mapOf(0)?.signed !== false;
    const key = `${this.look.palette} ${signed}`;
    if (this.table?.key !== key) this.table = { key, signed, table: colorTable(this.look.palette, signed) };
    return this.table;
  }

  // --- what a page and the controls may ask for ---

  setMode(mode) {
    if (mode !== "film" && !this.hasNormal) {
      this.parts.hint.textContent = "Normal is offered once the film is analyzed";
      return this.say(this.parts.hint.textContent);
    }
    this.parts.hint.textContent = "";
    this.view.mode = mode;
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
    const offered = this.mapChoices().filter(([, , enabled = true]) => enabled).map(([value]) => value);
    this.setMap(offered[(offered.indexOf(this.look.map) + 1) % offered.length]);
  }

  toggleOverlays() {
    this.look.overlays = !this.look.overlays;
    this.tools.showsFindings = this.look.overlays;
    this.rearranged();
    this.say(this.look.overlays ? "Map and outlines on" : "Map and outlines off");
  }

  /** A map begins with its own threshold, and keeps what the reader has set while it stays. */
  startThreshold() {
    const map = this.mapOf(0);
    if (!map || map === this.thresholdOf) return;
    this.thresholdOf = map;
    this.look.threshold = map.threshold ?? 0;
  }

  setThreshold(value) { this.look.threshold = Math.max(0, value); this.changed(); }

  setOpacity(value) { this.look.opacity = Math.min(Math.max(value, 0), 1); this.changed(); }

  setPalette(palette) { this.look.palette = palette; this.changed(); }

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

  setPreset(name) { this.look.preset = name; this.applyPreset(); this.changed(); }

  applyPreset() {
    const preset = this.presets.find(({ name }) => name === this.look.preset) ?? FULL_RANGE;
    this.look.preset = preset.name;
    this.view.setWindow(preset.center, preset.width);
  }

  setInverted(inverted) { this.view.inverted = inverted; this.changed(); this.say(inverted ? "Inverted" : "Not inverted"); }

  setSwipe(share) {
    this.view.swipe = Math.min(Math.max(share, 0), 1);
    controls.moveDividers(this.parts.panes, this);
    this.changed();
  }

  /** Magnify by a factor, at a place of the canvas or in the middle. */
  zoom(factor, at) { this.zoomTo(this.films.length ? this.view.drawnScale * factor : 1, at); }

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

  fit() { this.moving = 0; this.view.fit(); this.changed(); }

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
    const own = Math.min(pane.width / ((right - left) * width), pane.height / ((bottom - top) * height)) * FINDING_SHARE;
    const scale = Math.min(Math.max((own * height) / this.films[0].height, this.view.fitting), 4 * Math.max(1, this.view.fitting));
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

  openTools() { this.root.classList.toggle("fv-tools-open"); }

  showHelp() { this.parts.help.showModal(); }

  /** All measurements as plain values, as in the schema. */
  measurements() { return exported(this.tools.measurements, this.films); }

  explain({ film, points }) {
    const { top, left, bottom, right } = boundsOf(points);
    this.emit("explain", { film, box: [top, left, bottom, right].map((share) => Math.min(Math.max(share, 0), 1)) });
  }

  // --- drawing and telling ---

  emit(name, detail) { this.root.dispatchEvent(new CustomEvent(`viewer-${name}`, { detail, bubbles: true })); }

  say(text) { this.parts.live.textContent = text; }

  measurementsMoved() { controls.showMeasurements(this.parts.measured, this); }

  measurementsChanged(text) {
    this.tools.rebuild();
    this.measurementsMoved();
    if (text) this.say(text);
    this.emit("measure", this.measurements());
  }

  /** Show the values at a place of the canvas; null when the pointer has left. */
  pointAt(point) {
    const pane = point && this.films.length ? this.view.paneAt(point) : null;
    this.parts.pointer.textContent = pane ? controls.valuesAt(this.films[pane.film], this.view.toFilm(pane, point)) : "";
  }

  resize() {
    const { stage, canvas } = this.parts;
    this.ratio = devicePixelRatio;
    const [width, height] = [stage.clientWidth, stage.clientHeight].map((side) => Math.max(1, Math.round(side * this.ratio)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    // a stage between two pixels of the screen would blur the canvas
    const { left, top } = stage.getBoundingClientRect();
    const [x, y] = [left, top].map((side) => (Math.round(side * this.ratio) - side * this.ratio) / this.ratio);
    const place = { left: x, top: y, width: width / this.ratio, height: height / this.ratio };
    for (const [side, pixels] of Object.entries(place)) canvas.style[side] = `${pixels}px`;
    Object.assign(this.view, { width, height });
    this.rearranged();
  }

  /** Panes, findings or measurements are others than before. */
  rearranged() {
    if (this.films.length) this.view.arrange(this.films);
    else this.view.panes = [];
    controls.showPanes(this.parts.panes, this);
    this.tools.rebuild();
    this.changed();
  }

  /** Draw with the screen's next frame. */
  changed() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.draw(); });
  }

  draw() {
    const { view, look } = this;
    const { center, width } = view.window;
    const setting = {
      low: center - width / 2, high: center + width / 2, inverted: view.inverted,
      signed: this.colors.signed, table: this.colors.table, threshold: look.threshold, opacity: look.opacity,
    };
    const layerOf = (film, layer) => (layer === "normal" ? this.films[film].normal : this.films[film].image);
    this.renderer.draw(view.tiles(layerOf, (film) => this.mapOf(film)), setting);
    this.tools.place();
    controls.refresh(this.parts, this);
  }
}
