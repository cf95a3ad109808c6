// What is shown and how it gets to the screen: films, maps, window and the drawing on demand. The commands are in
// viewer.js.

import * as controls from "./controls.js";
import { FilmStore } from "./films.js";
import { listen } from "./input.js";
import { PALETTES, colorTable, mapDifference } from "./maps.js";
import * as panels from "./panels.js";
import { createRenderer } from "./render.js";
import { Tools } from "./tools.js";
import { FULL_RANGE, View } from "./view.js";

const MIN_WIDTH_BESIDE = 640; // of the stage, for two films beside each other without being asked

export class Display {
  constructor(root, { renderer } = {}) {
    Object.assign(this, {
      root,
      films: [],
      value: {},
      presets: [FULL_RANGE],
      finding: { film: 0, index: -1 },
      ratio: 1,
    });
    Object.assign(this, { store: new FilmStore(), loads: 0, pending: false, moving: 0 });
    this.view = new View();
    this.look = {
      map: "0",
      palette: Object.keys(PALETTES)[0],
      opacity: 0.6,
      threshold: 0,
      preset: FULL_RANGE.name,
      overlays: true,
    };
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

  /**
   * Show a value. Zoom, window and measurements stay while the first film is the same; a newer call outruns this one.
   */
  async load(value) {
    const load = ++this.loads;
    const wanted = value ?? {};
    panels.showStatus(this.parts.status, wanted.status);
    panels.showNotice(this.parts.notice, wanted.notice, (id) => this.emit("action", { id }));
    let films;
    try {
      films = await this.store.read(wanted.films ?? []);
    } catch (error) {
      if (load === this.loads) panels.showNotice(this.parts.notice, { text: error.message });
      return;
    }
    if (load !== this.loads) return;
    const same = films[0]?.image === this.films[0]?.image;
    const hadNormal = same && this.hasNormal;
    Object.assign(this, { films, value: wanted, presets: [FULL_RANGE, ...(wanted.presets ?? [])] });
    this.between = null;
    if (!same) this.restart();
    else this.tools.measurements = this.tools.measurements.filter(({ film }) => film < films.length);
    if (!this.hasNormal) this.view.mode = "film";
    else if (!hadNormal) this.view.mode = this.chosenMode ?? this.firstMode;
    if (this.finding.index >= (films[this.finding.film]?.findings.length ?? 0)) this.finding = { film: 0, index: -1 };
    this.startThreshold();
    this.tools.carryOver();
    this.renderer.retain(
      new Set(films.flatMap(({ image, normal, maps }) => [image, normal, ...maps.map(({ fine }) => fine)])),
    );
    this.rearranged();
    panels.showMeasurements(this.parts.measured, this);
    this.parts.empty.textContent = films.length ? "" : (wanted.description ?? "");
    this.parts.description.textContent = panels.describeFilms(this);
  }

  restart() {
    this.tools.measurements = [];
    this.finding = { film: 0, index: -1 };
    this.view.fit();
    this.view.inverted = false;
    this.look.preset = this.value.window ?? FULL_RANGE.name;
    this.applyPreset();
  }

  get hasNormal() {
    return this.films.some(({ hasNormal }) => hasNormal);
  }

  /** How a film with its normal film is shown until the reader chooses: as asked for, where there is room. */
  get firstMode() {
    return this.parts.stage.clientWidth >= MIN_WIDTH_BESIDE ? (this.value.mode ?? "film") : "film";
  }

  get isFullScreen() {
    return document.fullscreenElement === this.root || this.root.classList.contains("fv-fills");
  }

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

  get comparable() {
    return Boolean(this.films[1]?.maps.length && this.films[0].maps.length);
  }

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

  /** A map begins with its own threshold, and keeps what the reader has set while it stays. */
  startThreshold() {
    const map = this.mapOf(0);
    if (!map || map === this.thresholdOf) return;
    this.thresholdOf = map;
    this.look.threshold = map.threshold ?? 0;
  }

  applyPreset() {
    const preset = this.presets.find(({ name }) => name === this.look.preset) ?? FULL_RANGE;
    this.look.preset = preset.name;
    this.view.setWindow(preset.center, preset.width);
  }

  // --- drawing ---

  resize() {
    const { stage, canvas } = this.parts;
    this.ratio = devicePixelRatio;
    const [width, height] = [stage.clientWidth, stage.clientHeight].map((side) =>
      Math.max(1, Math.round(side * this.ratio)),
    );
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
    panels.showPanes(this.parts.panes, this);
    this.tools.rebuild();
    this.changed();
  }

  /** Draw with the screen's next frame. */
  changed() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  draw() {
    const { view, look } = this;
    const { center, width } = view.window;
    const setting = {
      low: center - width / 2,
      high: center + width / 2,
      inverted: view.inverted,
      signed: this.colors.signed,
      table: this.colors.table,
      threshold: look.threshold,
      full: (this.mapOf(0) ?? this.mapOf(1))?.full ?? 1, // one scale for both films, the one in the legend
      opacity: look.opacity,
    };
    const layerOf = (film, layer) => (layer === "normal" ? this.films[film].normal : this.films[film].image);
    this.renderer.draw(
      view.tiles(layerOf, (film) => this.mapOf(film)),
      setting,
    );
    this.tools.place();
    panels.moveNames(this.parts.panes, this);
    controls.refresh(this.parts, this);
  }
}
