// Where every film lies on the canvas, and how its greys are windowed. Lengths are pixels of the canvas; places in a
// film are shares of its sides, from its upper left corner.

export const MODES = [
  ["film", "Film"],
  ["normal", "Normal"],
  ["both", "Side by side"],
  ["swipe", "Swipe"],
];
const GAP = 4;
const MOST_MAGNIFIED = 16; // canvas pixels per film pixel
export const FULL_RANGE = { name: "Full range", center: 0.5, width: 1 };

const limited = (value, low, high) => Math.min(Math.max(value, low), high);

export class View {
  constructor() {
    Object.assign(this, {
      width: 1,
      height: 1,
      mode: "film",
      swipe: 0.5,
      center: { x: 0.5, y: 0.5 },
      scale: null,
      window: { center: 0.5, width: 1 },
      inverted: false,
    });
  }

  /**
   * Give each film and layer its pane, in as many columns as leave the films largest. films: their side lengths;
   * films[0] is the one that `scale` counts the pixels of; others are drawn as high as it.
   */
  arrange(films) {
    this.films = films;
    const layers = {
      film: [["film"]],
      normal: [["normal"]],
      both: [["film"], ["normal"]],
      swipe: [["film", "normal"]],
    }[this.mode];
    const cells = films.flatMap((_, film) => layers.map((names) => ({ film, layers: names })));
    const counts = [4, 2, 1].filter((columns) => cells.length % columns === 0);
    const divisions = counts.map((columns) => this.divide(cells, columns));
    const scales = divisions.map((panes) => this.fittingOf(panes));
    this.panes = divisions[scales.indexOf(Math.max(...scales))];
    return this.panes;
  }

  /** Divide the canvas among cells, from left to right and from top to bottom. */
  divide(cells, columns) {
    const side = (whole, parts) => Math.max(Math.floor((whole - GAP * (parts - 1)) / parts), 1);
    const [width, height] = [side(this.width, columns), side(this.height, cells.length / columns)];
    return cells.map((cell, index) => {
      const [column, row] = [index % columns, Math.floor(index / columns)];
      return { ...cell, x: column * (width + GAP), y: row * (height + GAP), width, height };
    });
  }

  get fitting() {
    return this.fittingOf(this.panes);
  }

  /** The scale at which every film is whole in its pane. */
  fittingOf(panes) {
    return Math.min(
      ...panes.map((pane) => {
        const film = this.films[pane.film];
        return Math.min(pane.width / film.width, pane.height / film.height) * (film.height / this.films[0].height);
      }),
    );
  }

  get isWhole() {
    return this.scale === null || this.scale <= this.fitting * 1.001;
  }

  get drawnScale() {
    return this.scale ?? this.fitting;
  }

  scaleOf(film) {
    return (this.drawnScale * this.films[0].height) / this.films[film].height;
  }

  /**
   * The upper left corner of a pane's film. Whole pixels, so that at 100 % each film pixel is one pixel of the screen.
   */
  originOf(pane) {
    const film = this.films[pane.film];
    const scale = this.scaleOf(pane.film);
    return {
      x: Math.round(pane.x + pane.width / 2 - this.center.x * film.width * scale),
      y: Math.round(pane.y + pane.height / 2 - this.center.y * film.height * scale),
    };
  }

  paneAt({ x, y }) {
    return this.panes.find((pane) => x >= pane.x && x < pane.x + pane.width && y >= pane.y && y < pane.y + pane.height);
  }

  /** A place of the canvas as a place of the pane's film; it may lie outside of 0..1. */
  toFilm(pane, { x, y }) {
    const [origin, scale, film] = [this.originOf(pane), this.scaleOf(pane.film), this.films[pane.film]];
    return { x: (x - origin.x) / scale / film.width, y: (y - origin.y) / scale / film.height };
  }

  toCanvas(pane, { x, y }) {
    const [origin, scale, film] = [this.originOf(pane), this.scaleOf(pane.film), this.films[pane.film]];
    return { x: origin.x + x * film.width * scale, y: origin.y + y * film.height * scale };
  }

  /**
   * Magnify to `scale` and leave the film's place under `at` (a place of the canvas; by default the middle) where it
   * is.
   */
  zoomTo(scale, at) {
    const pane = (at && this.paneAt(at)) ?? this.panes[0];
    const [left, top] = [pane.x + pane.width / 2, pane.y + pane.height / 2];
    const point = at ?? { x: left, y: top };
    const place = this.toFilm(pane, point);
    this.scale = limited(scale, Math.min(1, this.fitting / 2), Math.max(MOST_MAGNIFIED, this.fitting * 4));
    const own = this.scaleOf(pane.film);
    const { width, height } = this.films[pane.film];
    this.moveTo({ x: place.x - (point.x - left) / own / width, y: place.y - (point.y - top) / own / height });
  }

  moveTo({ x, y }) {
    this.center = { x: limited(x, 0, 1), y: limited(y, 0, 1) };
  }

  pan(x, y) {
    const { width, height } = this.films[0];
    this.moveTo({ x: this.center.x - x / this.drawnScale / width, y: this.center.y - y / this.drawnScale / height });
  }

  fit() {
    this.scale = null;
    this.center = { x: 0.5, y: 0.5 };
  }

  setWindow(center, width) {
    this.window = { center: limited(center, 0, 1), width: limited(width, 0.001, 1.5) };
  }

  /** Whether the film itself is in view, beside or under its normal film, which then stays free of the map. */
  showsFilm(film) {
    return this.panes.some((pane) => pane.film === film && pane.layers.some((layer) => layer !== "normal"));
  }

  /** What the renderer draws: one tile a layer of each pane. layerOf(film, layer) and mapOf(film) give the pictures. */
  tiles(layerOf, mapOf) {
    return this.panes
      .flatMap((pane) => {
        const origin = this.originOf(pane);
        const split = pane.layers.length > 1 ? Math.round(pane.width * this.swipe) : pane.width;
        return pane.layers.map((layer, index) => {
          const image = layerOf(pane.film, layer);
          return {
            image,
            map: layer === "normal" && this.showsFilm(pane.film) ? null : mapOf(pane.film),
            origin,
            // a normal film may have fewer pixels than its film
            scale: (this.scaleOf(pane.film) * this.films[pane.film].height) / (image?.height ?? 1),
            clip:
              index === 0
                ? { x: pane.x, y: pane.y, width: split, height: pane.height }
                : { x: pane.x + split, y: pane.y, width: pane.width - split, height: pane.height },
          };
        });
      })
      .filter(({ image, clip }) => image && clip.width > 0);
  }
}
