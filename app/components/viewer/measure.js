// Measurements as plain values: their numbers, their words and what is exported of them.

import { meanInside } from "./maps.js";

const distance = ([from, to], film, [rowSpacing, columnSpacing]) =>
  Math.hypot((to.x - from.x) * film.width * columnSpacing, (to.y - from.y) * film.height * rowSpacing);

/**
 * The length of a line (two places, shares of the film's sides): millimeters where the spacing is known, else pixels.
 */
export function lengthOf(line, film) {
  return { value: distance(line, film, film.spacing_mm ?? [1, 1]), unit: film.spacing_mm ? "mm" : "px" };
}

const written = ({ value, unit }) => `${value.toFixed(unit === "mm" ? 1 : 0)} ${unit}`;

/** The width of the heart over that of the chest, of a layer's two lines; null while one is missing. */
export function ratioOf(lines, film) {
  if (!lines?.heart || !lines.thorax) return null;
  const thorax = lengthOf(lines.thorax, film).value;
  return thorax > 0 ? lengthOf(lines.heart, film).value / thorax : null;
}

export function boundsOf([first, second]) {
  return {
    left: Math.min(first.x, second.x),
    right: Math.max(first.x, second.x),
    top: Math.min(first.y, second.y),
    bottom: Math.max(first.y, second.y),
  };
}

/**
 * The mean grey of a film's pixels whose middles lie inside a rectangle, in stored values; null where there is none.
 */
function meanGrey(image, { left, right, top, bottom }) {
  let [sum, count] = [0, 0];
  for (let row = Math.ceil(top * image.height - 0.5); row < bottom * image.height - 0.5 && row < image.height; row++) {
    for (
      let column = Math.ceil(left * image.width - 0.5);
      column < right * image.width - 0.5 && column < image.width;
      column++
    ) {
      if (row < 0 || column < 0) continue;
      sum += image.data[row * image.width + column];
      count++;
    }
  }
  return count ? sum / count : null;
}

export const signedText = (value, { factor, unit }) =>
  `${value < 0 ? "−" : "+"}${Math.abs(value * factor).toFixed(1)} ${unit}`;

/** A measurement's numbers. film: {width, height, spacing_mm, image, maps, hasNormal}. */
export function evaluate(measurement, film) {
  const { kind, points, lines } = measurement;
  if (kind === "ruler") return { length: lengthOf(points, film) };
  if (kind === "ratio") return { here: ratioOf(lines.film, film), normal: ratioOf(lines.normal, film) };
  const bounds = boundsOf(points);
  const map = film.maps.find(({ signed }) => signed);
  return {
    bounds,
    width: lengthOf(
      [
        { x: bounds.left, y: 0 },
        { x: bounds.right, y: 0 },
      ],
      film,
    ),
    height: lengthOf(
      [
        { x: 0, y: bounds.top },
        { x: 0, y: bounds.bottom },
      ],
      film,
    ),
    // of up to millions of pixels: only when it is asked for, not with every frame
    get grey() {
      return meanGrey(film.image, bounds);
    },
    difference: map ? meanInside(map, bounds) : null,
    map,
  };
}

/** A measurement in words. */
export function describe(measurement, film) {
  const numbers = evaluate(measurement, film);
  if (measurement.kind === "ruler") return `Length ${written(numbers.length)}`;
  if (measurement.kind === "ratio") {
    if (numbers.here === null) return "Cardiothoracic ratio: now draw the inner width of the chest";
    const here = `Cardiothoracic ratio ${numbers.here.toFixed(2)}`;
    if (numbers.normal === null) return here;
    if (!measurement.adjusted) return `${here} here; move the lines on the normal film to compare`;
    return `${here} here, ${numbers.normal.toFixed(2)} in what is normal for this record`;
  }
  const parts = [`Area ${written(numbers.width)} × ${written(numbers.height)}`];
  if (numbers.grey !== null) parts.push(`mean grey ${numbers.grey.toFixed(0)}`);
  if (numbers.difference !== null) parts.push(`mean difference ${signedText(numbers.difference, numbers.map)}`);
  return parts.join(", ");
}

const pairs = (points) => points.map(({ x, y }) => [y, x]);

/** All finished measurements for the report. Places are [row, column], shares of the film's sides. */
export function exported(measurements, films) {
  const finished = measurements.filter(({ kind, lines }) => kind !== "ratio" || lines.film.thorax);
  return {
    version: 1,
    measurements: finished.map((measurement) => {
      const { kind, film, points, lines } = measurement;
      const numbers = evaluate(measurement, films[film]);
      const common = { kind, film, film_name: films[film].name, text: describe(measurement, films[film]) };
      if (kind === "ruler")
        return { ...common, points: pairs(points), length: numbers.length.value, unit: numbers.length.unit };
      if (kind === "ratio") {
        const layers = Object.entries(lines).filter(([, layer]) => layer?.thorax);
        return {
          ...common,
          ratio: numbers.here,
          normal_ratio: measurement.adjusted ? numbers.normal : null,
          lines: Object.fromEntries(
            layers.map(([layer, { heart, thorax }]) => [layer, { heart: pairs(heart), thorax: pairs(thorax) }]),
          ),
        };
      }
      const { bounds, width, height, grey, difference } = numbers;
      return {
        ...common,
        box: [bounds.top, bounds.left, bounds.bottom, bounds.right],
        width: width.value,
        height: height.value,
        unit: width.unit,
        mean_grey: grey,
        mean_difference: difference,
      };
    }),
  };
}
