// Difference maps: few numbers, enlarged smoothly, in colors that readers with any color vision tell apart.

const ENLARGEMENT = 4; // on top of the renderer's own linear interpolation

// Both ends are bright, so that they show on a dark film; they differ in hue and not only in lightness.
// size: from small to large. Blue with orange, purple with yellow and teal with brown survive every common color
// deficiency.
export const PALETTES = {
  "Orange/blue": {
    above: ["#9a3412", "#f97316", "#fdba4d"],
    below: ["#1e40af", "#3b82f6", "#7dd3fc"],
    size: ["#57106e", "#bc3754", "#f98e09", "#fcffa4"],
  },
  "Yellow/purple": {
    above: ["#854d0e", "#eab308", "#fef08a"],
    below: ["#5b21b6", "#a855f7", "#e0b3ff"],
    size: ["#1a386f", "#7d7c78", "#bcae6c", "#fee838"],
  },
  "Brown/teal": {
    above: ["#7c4a13", "#c98b3c", "#f0d5a0"],
    below: ["#0b5d56", "#2bb3a3", "#99f6e4"],
    size: ["#472d7b", "#2c728e", "#28ae80", "#fde725"],
  },
};

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

function ramp(colors, share) {
  const place = Math.min(Math.max(share, 0), 1) * (colors.length - 1);
  const index = Math.min(Math.floor(place), colors.length - 2);
  const [from, to] = [channels(colors[index]), channels(colors[index + 1])];
  return from.map((value, channel) => value + (to[channel] - value) * (place - index));
}

/** 256 colors RGBA. signed: from "darker" over nothing to "brighter"; otherwise from small to large. */
export function colorTable(palette, signed) {
  const { above, below, size } = PALETTES[palette];
  const table = new Uint8Array(256 * 4);
  for (let index = 0; index < 256; index++) {
    const share = (2 * index) / 255 - 1;
    const color = signed ? ramp(share < 0 ? below : above, Math.abs(share)) : ramp(size, index / 255);
    table.set([...color.map(Math.round), 255], 4 * index);
  }
  return table;
}

/** A decoded map file and its description → {width, height, data: Float32Array, fine, …description}. */
export function toMap(image, description) {
  const data = Float32Array.from(image.data, (stored) => ((stored - 32768) / 32767) * description.scale);
  const map = { ...description, box: description.box ?? [0, 0, 1, 1], width: image.width, height: image.height, data };
  return { ...map, fine: enlarge(map) };
}

/** The first map minus the second, on the first one's grid. */
export function mapDifference(first, second, name) {
  const data = new Float32Array(first.data.length);
  const [top, left, bottom, right] = first.box;
  for (let index = 0; index < data.length; index++) {
    const x = left + (((index % first.width) + 0.5) / first.width) * (right - left);
    const y = top + ((Math.floor(index / first.width) + 0.5) / first.height) * (bottom - top);
    data[index] = first.data[index] - (valueAt(second, x, y) ?? 0);
  }
  const map = { ...first, name, data, signed: true };
  return { ...map, fine: enlarge(map) };
}

/**
 * The map's value at a place of the film (shares of its sides), linear between the middles of its pixels; null
 * outside.
 */
export function valueAt(map, x, y) {
  const [top, left, bottom, right] = map.box;
  if (x < left || x > right || y < top || y > bottom) return null;
  const column = Math.min(Math.max(((x - left) / (right - left)) * map.width - 0.5, 0), map.width - 1);
  const row = Math.min(Math.max(((y - top) / (bottom - top)) * map.height - 0.5, 0), map.height - 1);
  const [c, r] = [Math.floor(column), Math.floor(row)];
  const [c1, r1] = [Math.min(c + 1, map.width - 1), Math.min(r + 1, map.height - 1)];
  const upper = map.data[r * map.width + c] * (1 - column + c) + map.data[r * map.width + c1] * (column - c);
  const lower = map.data[r1 * map.width + c] * (1 - column + c) + map.data[r1 * map.width + c1] * (column - c);
  return upper * (1 - row + r) + lower * (row - r);
}

/**
 * The mean of a map inside a rectangle of the film, each pixel counted by the area that lies inside; null where none
 * does.
 */
export function meanInside(map, { left, top, right, bottom }) {
  const [mapTop, mapLeft, mapBottom, mapRight] = map.box;
  const toColumn = (x) => ((x - mapLeft) / (mapRight - mapLeft)) * map.width;
  const toRow = (y) => ((y - mapTop) / (mapBottom - mapTop)) * map.height;
  const [c0, c1, r0, r1] = [toColumn(left), toColumn(right), toRow(top), toRow(bottom)];
  let [sum, area] = [0, 0];
  for (let row = Math.max(0, Math.floor(r0)); row < Math.min(map.height, r1); row++) {
    const high = Math.min(row + 1, r1) - Math.max(row, r0);
    for (let column = Math.max(0, Math.floor(c0)); column < Math.min(map.width, c1); column++) {
      const share = high * (Math.min(column + 1, c1) - Math.max(column, c0));
      sum += share * map.data[row * map.width + column];
      area += share;
    }
  }
  return area > 0 ? sum / area : null;
}

// Keys' cubic convolution (1981, a = -1/2) at the four neighbors of a place.
const weights = (t) => [
  ((-0.5 * t + 1) * t - 0.5) * t,
  (1.5 * t - 2.5) * t * t + 1,
  ((-1.5 * t + 2) * t + 0.5) * t,
  (0.5 * t - 0.5) * t * t,
];

/** ENLARGEMENT times as many numbers on each side, by cubic convolution. */
function enlarge({ width, height, data }) {
  const along = (source, columns, rows, step) => {
    const out = new Float32Array(columns * rows * ENLARGEMENT);
    for (let index = 0; index < columns * ENLARGEMENT; index++) {
      const place = (index + 0.5) / ENLARGEMENT - 0.5;
      const first = Math.floor(place);
      const factor = weights(place - first);
      const at = [-1, 0, 1, 2].map((offset) => Math.min(Math.max(first + offset, 0), columns - 1));
      for (let row = 0; row < rows; row++) {
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += factor[k] * source[step === 1 ? row * columns + at[k] : at[k] * rows + row];
        out[step === 1 ? row * columns * ENLARGEMENT + index : index * rows + row] = sum;
      }
    }
    return out;
  };
  const wide = along(data, width, height, 1);
  const both = along(wide, height, width * ENLARGEMENT, 0);
  return { width: width * ENLARGEMENT, height: height * ENLARGEMENT, data: both };
}
