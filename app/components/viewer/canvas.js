// Drawing without WebGL2: the windowed film and the colored map are made once for each setting and then only moved.

import { levelFor } from "./png.js";

const MARGIN = 0.25; // of the sides of what is seen

const contains = (outer, { x, y, width, height }) =>
  x >= outer.x && y >= outer.y && x + width <= outer.x + outer.width && y + height <= outer.y + outer.height;

/** A part of a level with a margin around it, as far as the level reaches. */
function withMargin({ x, y, width, height }, level) {
  const [left, top] = [Math.max(0, Math.floor(x - MARGIN * width)), Math.max(0, Math.floor(y - MARGIN * height))];
  const right = Math.min(level.width, Math.ceil(x + (1 + MARGIN) * width));
  const bottom = Math.min(level.height, Math.ceil(y + (1 + MARGIN) * height));
  return { x: left, y: top, width: right - left, height: bottom - top };
}

export class CanvasRenderer {
  constructor(canvas) {
    Object.assign(this, {
      canvas,
      context: canvas.getContext("2d", { alpha: false }),
      name: "canvas",
      pixels: null,
      pictures: new WeakMap(),
    });
  }

  /**
   * A part of a level of the film under the window: {canvas, part}. While the window changes, only the part that is
   * seen is made; once it rests, a margin too, so that most movements need nothing new.
   */
  film(image, index, look, seen) {
    const level = image.levels[index];
    const setting = `${look.low} ${look.high} ${look.inverted}`;
    const entry = this.pictures.get(level) ?? { canvas: document.createElement("canvas") };
    const rests = entry.setting === setting;
    if (rests && contains(entry.part, seen)) return entry;
    const part = rests ? withMargin(seen, level) : seen;
    const pixels = this.scratch(part.width, part.height);
    this.paintFilm(level, image.maximum, look, part, new Uint32Array(pixels.data.buffer));
    Object.assign(entry.canvas, { width: part.width, height: part.height });
    entry.canvas.getContext("2d").putImageData(pixels, 0, 0);
    this.pictures.set(level, Object.assign(entry, { setting, part }));
    return entry;
  }

  scratch(width, height) {
    if (this.pixels?.width !== width || this.pixels.height !== height) this.pixels = new ImageData(width, height);
    return this.pixels;
  }

  paintFilm({ width, data }, maximum, { low, high, inverted }, part, out) {
    const shades = new Uint32Array(maximum + 1);
    for (let value = 0; value <= maximum; value++) {
      const share = Math.min(Math.max((value / maximum - low) / Math.max(high - low, 1e-6), 0), 1);
      shades[value] = 0xff000000 | (Math.round(255 * (inverted ? 1 - share : share)) * 0x010101);
    }
    for (let row = 0, index = 0; row < part.height; row++) {
      const from = (part.y + row) * width + part.x;
      for (let at = from; at < from + part.width; at++) out[index++] = shades[Math.min(data[at], maximum)];
    }
  }

  /** The colored map, made anew when a setting differs from the one before. */
  map(map, { signed, threshold, full, opacity, table }) {
    const { width, height, data } = map.fine;
    const setting = `${signed} ${threshold} ${full} ${opacity} ${table.subarray(0, 12)} ${table.subarray(-12)}`;
    const entry = this.pictures.get(map.fine) ?? {
      canvas: Object.assign(document.createElement("canvas"), { width, height }),
    };
    if (entry.setting === setting) return entry.canvas;
    const pixels = new ImageData(width, height);
    for (let index = 0; index < data.length; index++) {
      const share = Math.min(Math.max(data[index] / full, -1), 1);
      const strength = (4 * (Math.abs(data[index]) - threshold)) / Math.max(full - threshold, 1e-6);
      const color = 4 * Math.round(255 * (signed ? 0.5 + 0.5 * share : Math.abs(share)));
      for (let channel = 0; channel < 3; channel++) pixels.data[4 * index + channel] = table[color + channel];
      pixels.data[4 * index + 3] = 255 * opacity * Math.min(Math.max(strength, 0), 1);
    }
    entry.canvas.getContext("2d").putImageData(pixels, 0, 0);
    this.pictures.set(map.fine, Object.assign(entry, { setting }));
    return entry.canvas;
  }

  draw(tiles, look) {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const { image, map, clip, origin, scale } of tiles) {
      context.save();
      context.beginPath();
      context.rect(clip.x, clip.y, clip.width, clip.height);
      context.clip();
      context.imageSmoothingEnabled = scale !== 1;
      context.imageSmoothingQuality = "low";
      this.drawFilm(image, levelFor(image, scale), look, clip, origin, scale);
      if (map) {
        const [top, left, bottom, right] = map.box;
        const [width, height] = [image.width * scale, image.height * scale];
        context.imageSmoothingEnabled = true;
        context.drawImage(
          this.map(map, look),
          origin.x + left * width,
          origin.y + top * height,
          (right - left) * width,
          (bottom - top) * height,
        );
      }
      context.restore();
    }
  }

  drawFilm(image, index, look, clip, origin, scale) {
    const level = image.levels[index];
    // screen pixels per pixel of the level
    const [across, down] = [(image.width * scale) / level.width, (image.height * scale) / level.height];
    const x = Math.max(0, Math.floor((clip.x - origin.x) / across) - 1);
    const y = Math.max(0, Math.floor((clip.y - origin.y) / down) - 1);
    const width = Math.min(level.width, Math.ceil((clip.x + clip.width - origin.x) / across) + 1) - x;
    const height = Math.min(level.height, Math.ceil((clip.y + clip.height - origin.y) / down) + 1) - y;
    if (width <= 0 || height <= 0) return;
    const { canvas, part } = this.film(image, index, look, { x, y, width, height });
    const place = [origin.x + part.x * across, origin.y + part.y * down, part.width * across, part.height * down];
    this.context.drawImage(canvas, ...place);
  }

  retain() {} // pictures go with their sources
}
