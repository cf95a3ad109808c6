// Where labels are written over a film, so that none covers another and each stays inside the picture.

const HEIGHT = 18; // CSS pixels of a label with its black edge
const BASELINE = 13; // from a label's upper edge
const PADDING = 3; // between a label's side and its text
const DISTANCE = 3; // between a label and what it names
const STEP = HEIGHT / 2; // of the search for a free place
const DIRECTIONS = 16;

const overlaps = (a, b) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

const limited = (value, low, high) => Math.min(Math.max(value, low), high);

const widths = new Map();

/** The size of a label in CSS pixels. */
function sizeOf(node) {
  const text = node.textContent;
  if (!widths.has(text)) widths.set(text, node.getComputedTextLength());
  return { width: widths.get(text) + 2 * PADDING, height: HEIGHT };
}

/** Upper left corners of a label beside the points of a shape, the best first: above, beside, below. */
function placesAround(points, { width, height }) {
  const extreme = (better) => points.reduce((best, point) => (better(point, best) ? point : best));
  const [top, bottom] = [extreme((a, b) => a.y < b.y), extreme((a, b) => a.y > b.y)];
  const [left, right] = [extreme((a, b) => a.x < b.x), extreme((a, b) => a.x > b.x)];
  return [
    { x: top.x - width / 2, y: top.y - height - DISTANCE },
    { x: right.x + DISTANCE, y: right.y - height / 2 },
    { x: left.x - width - DISTANCE, y: left.y - height / 2 },
    { x: bottom.x - width / 2, y: bottom.y + DISTANCE },
  ];
}

/** Places farther and farther away from a first one. */
function* ringsAround({ x, y }, reach) {
  for (let radius = STEP; radius < reach; radius += STEP) {
    for (let direction = 0; direction < DIRECTIONS; direction++) {
      const angle = (2 * Math.PI * direction) / DIRECTIONS;
      yield { x: x + radius * Math.sin(angle), y: y - radius * Math.cos(angle) };
    }
  }
}

/**
 * Find a rectangle for each label, in their order: its first free place, otherwise the nearest one to its best place.
 * labels: [{width, height, places}]; bounds: {x, y, width, height} of the picture. null where there is no room at all.
 */
export function placeLabels(labels, bounds) {
  const taken = [];
  const reach = Math.hypot(bounds.width, bounds.height);
  return labels.map(({ width, height, places }) => {
    if (width > bounds.width || height > bounds.height) return null;
    const inside = ({ x, y }) => ({
      x: limited(x, bounds.x, bounds.x + bounds.width - width),
      y: limited(y, bounds.y, bounds.y + bounds.height - height),
      width,
      height,
    });
    const isFree = (place) => !taken.some((other) => overlaps(place, other));
    for (const candidates of [places, ringsAround(inside(places[0]), reach)]) {
      for (const candidate of candidates) {
        const place = inside(candidate);
        if (!isFree(place)) continue;
        taken.push(place);
        return place;
      }
    }
    return null;
  });
}

/**
 * Write the labels of a pane beside their shapes; hidden is what has no text and what belongs to a shape out of view.
 * labels: [{node, points, beside}]: an SVG text, the shape's corners, and the points that the text is written beside,
 * in CSS pixels of the pane; bounds: see `placeLabels`.
 */
export function arrangeLabels(labels, bounds) {
  const isInView = ({ points }) =>
    points.some(({ x }) => x > 0) &&
    points.some(({ y }) => y > 0) &&
    points.some(({ x }) => x < bounds.x + bounds.width) &&
    points.some(({ y }) => y < bounds.y + bounds.height);
  const shown = labels.filter((label) => label.node.textContent && isInView(label));
  const sizes = shown.map(({ node }) => sizeOf(node));
  const places = placeLabels(
    shown.map(({ beside }, index) => ({ ...sizes[index], places: placesAround(beside, sizes[index]) })),
    bounds,
  );
  for (const { node } of labels) node.setAttribute("visibility", "hidden");
  shown.forEach(({ node }, index) => {
    const place = places[index];
    if (!place) return;
    node.setAttribute("visibility", "visible");
    node.setAttribute("x", place.x + place.width / 2);
    node.setAttribute("y", place.y + BASELINE);
  });
}
