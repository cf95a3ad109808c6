// What lies over the picture: names and dividers of the panes, values, legend, measurements, notice and status.

import { valueAt } from "./maps.js";
import { describe, signedText } from "./measure.js";

const MAX_BAR = 400; // CSS pixels of the bar of five centimeters

/** A DOM element. Attributes that begin with "on" are listeners; children are elements or texts. */
export function h(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export const button = (text, label, onclick, attributes = {}) =>
  h("button", { type: "button", "aria-label": label, title: label, onclick, ...attributes }, text);

/** Magnification and window and, where the spacing is known, a bar of five centimeters. */
export function showScale({ scale, ruler }, { films: [film], view, ratio }) {
  const percent = (value) => `${Math.round(100 * value)} %`;
  const { center, width } = view.window;
  scale.textContent = film
    ? `${percent(view.drawnScale)} · level ${percent(center)} · width ${percent(width)}`
    : "";
  const length = film?.spacing_mm ? ((50 / film.spacing_mm[1]) * view.drawnScale) / ratio : 0;
  ruler.hidden = !length || length > MAX_BAR;
  ruler.style.width = `${length}px`;
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
    texts.push(
      map.signed
        ? `${map.name.toLowerCase()} ${signedText(value, map)}`
        : `${map.name.toLowerCase()} ${(value * map.factor).toFixed(1)} ${map.unit}`,
    );
  }
  const [row, column] = film.spacing_mm ?? [1, 1];
  const [across, down] = [x * film.width * column, y * film.height * row];
  texts.push(
    film.spacing_mm ? `${across.toFixed(1)}, ${down.toFixed(1)} mm` : `${Math.floor(across)}, ${Math.floor(down)} px`,
  );
  return texts.join(" · ");
}

export function showLegend(node, { look, colors }, map) {
  node.hidden = !map;
  if (!map) return;
  const value = (share) => `${(share * map.full * map.factor).toFixed(0)} ${map.unit}`;
  const ends = colors.signed ? [`${value(1)} darker`, `${value(1)} brighter`] : ["0", value(1)];
  const stops = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((index) => {
    const share = index / 8;
    const hidden = (colors.signed ? Math.abs(2 * share - 1) : share) * map.full <= look.threshold;
    const at = 4 * Math.round(share * 255);
    return hidden ? "transparent" : `rgb(${colors.table.slice(at, at + 3).join(" ")})`;
  });
  node.replaceChildren(
    h("span", { title: map.name }, map.name),
    h("span", {}, ends[0]),
    h("i", { style: `background-image: linear-gradient(to right, ${stops.join(", ")})` }),
    h("span", {}, ends[1]),
  );
}

/** Names, tags and swipe dividers of the panes. */
export function showPanes(node, viewer) {
  const { view, films, ratio } = viewer;
  const normalName = (film) => (films.length > 1 ? `${film.name}: ${film.normal_name}` : film.normal_name);
  node.replaceChildren(
    ...view.panes.flatMap((pane, index) => {
      const film = films[pane.film];
      const sides = { left: pane.x, top: pane.y, width: pane.width, height: pane.height };
      const place = Object.entries(sides)
        .map(([side, pixels]) => `${side}: ${pixels / ratio}px`)
        .join("; ");
      const isFirst = view.panes.find((other) => other.film === pane.film) === pane;
      const tags = isFirst ? film.tags.map((tag) => h("small", {}, tag)) : [];
      const names = h(
        "div",
        { class: "fv-title" },
        ...pane.layers.map((layer, side) =>
          h("span", {}, layer === "film" ? film.name : normalName(film), ...(side === 0 ? tags : [])),
        ),
      );
      const frame = h("div", { class: "fv-frame", style: place }, names);
      if (pane.layers.length > 1) {
        const percent = Math.round(100 * view.swipe);
        const moves = {
          ArrowLeft: -0.02,
          ArrowDown: -0.02,
          ArrowRight: 0.02,
          ArrowUp: 0.02,
          Home: -1,
          End: 1,
          PageDown: -0.1,
          PageUp: 0.1,
        };
        frame.append(
          h("div", {
            class: "fv-divider",
            tabindex: "0",
            role: "slider",
            "aria-label": "Divider between film and normal",
            "aria-valuemin": 0,
            "aria-valuemax": 100,
            "aria-valuenow": percent,
            "aria-valuetext": `${percent} % film`,
            "data-key": `divider-${index}`,
            style: `left: ${100 * view.swipe}%`,
            onkeydown: (event) => {
              if (!(event.key in moves)) return;
              event.preventDefault();
              viewer.setSwipe(view.swipe + moves[event.key]);
            },
          }),
        );
      }
      return [frame];
    }),
  );
}

/** Write each pane's names right over its film where there is room, otherwise at the pane's upper edge. */
export function moveNames(node, { view, ratio }) {
  view.panes.forEach((pane, index) => {
    const above = Math.min(Math.max(view.originOf(pane).y - pane.y, 0), pane.height) / ratio;
    node.children[index]?.style.setProperty("--fv-above", `${above}px`);
  });
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
  node.replaceChildren(
    ...measurements.map((measurement) => {
      const text = describe(measurement, viewer.films[measurement.film]);
      const item = h(
        "li",
        {},
        h("span", {}, viewer.films.length > 1 ? `${viewer.films[measurement.film].name}: ${text}` : text),
      );
      if (measurement.kind === "rectangle") {
        item.append(button("Explain this region", `Explain this region: ${text}`, () => viewer.explain(measurement)));
      }
      item.append(button("×", `Erase: ${text}`, () => viewer.tools.erase(measurement.id)));
      return item;
    }),
  );
  if (measurements.length > 1)
    node.append(
      h(
        "li",
        {},
        button("Erase all", "Erase all measurements", () => viewer.tools.erase()),
      ),
    );
}

export function showNotice(node, notice, onaction) {
  node.hidden = !notice;
  if (!notice) {
    node.replaceChildren();
    return;
  }
  node.replaceChildren(
    h("p", {}, notice.text),
    ...(notice.actions ?? []).map(({ id, label }) => button(label, label, () => onaction(id))),
  );
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
    const findings = film.findings.map(
      ({ label, value: number }, index) => `${index + 1}: ${[label, number].filter(Boolean).join(", ")}`,
    );
    const normal = film.hasNormal ? " What is normal for this record can be shown beside it." : "";
    const list = findings.length ? ` Findings: ${findings.join("; ")}.` : "";
    return `${film.name}, ${film.width} by ${film.height} pixels.${normal}${list}`;
  });
  return [value.description, ...sentences, "Press question mark for the keys."].filter(Boolean).join(" ");
}
