// Mouse, touch and keys on the picture.

const LONG_PRESS = 550; // milliseconds
const STILL = 8; // CSS pixels that a finger may move and still rest
const STEP = 40; // CSS pixels that the film moves with Shift and an arrow key

export const KEYS = [
  ["1 2 3 4", "Film, normal, side by side, swipe"],
  ["M", "Next map"],
  ["O", "Map and outlines on or off"],
  ["[ ]", "Map less or more opaque"],
  ["← →", "Finding before, next finding"],
  ["Shift + arrows", "Move the film"],
  ["+ −", "Magnify, reduce"],
  ["0", "100 %: one film pixel is one screen pixel"],
  ["I", "Invert"],
  ["W + drag, right drag", "Window"],
  ["R, double click", "Reset zoom and window"],
  ["F", "Full screen"],
  ["Enter", "Place the chosen tool in the middle"],
  ["Delete", "Erase the chosen measurement"],
  ["Esc", "Move tool"],
  ["?", "This list"],
];

/** Connect the stage (the element around canvas and outlines) with a viewer. */
export function listen(stage, viewer) {
  const { view, tools } = viewer;
  const fingers = new Map();
  const ending = new AbortController();
  let [action, last, timer, windowing] = [null, null, 0, false];

  const placeOf = (event) => {
    const { left, top } = stage.getBoundingClientRect();
    return { x: (event.clientX - left) * viewer.ratio, y: (event.clientY - top) * viewer.ratio };
  };
  const movesFilm = (_, x, y) => viewer.pan(x, y);
  const movesWindow = (_, x, y) => {
    const { center, width } = view.window;
    viewer.setWindow(center + (y * width) / 400, width * Math.exp(x / 200));
  };

  function choose(event) {
    const point = placeOf(event);
    const handle = tools.handleOf(event.target);
    if (event.button === 2 || windowing) return movesWindow;
    if (event.button === 1) return movesFilm;
    if (handle) {
      const move = (moved) => {
        tools.moveHandle(handle, view.toFilm(handle.pane, placeOf(moved)));
        viewer.measurementsMoved();
      };
      return Object.assign(move, { end: () => viewer.measurementsChanged("") });
    }
    if (event.target.closest(".fv-divider")) {
      const pane = view.paneAt(point) ?? view.panes[0];
      return (moved) => viewer.setSwipe((placeOf(moved).x - pane.x) / pane.width);
    }
    const pane = view.paneAt(point);
    if (!pane || tools.tool === "move") return movesFilm;
    tools.begin(pane.film, view.toFilm(pane, point));
    return (moved) => {
      tools.drag(view.toFilm(pane, placeOf(moved)));
    };
  }

  const isControl = (event) => event.target.closest("button, input, select, dialog, .fv-panel");

  stage.addEventListener("pointerdown", (event) => {
    if (isControl(event) || !viewer.films.length) return;
    if (!tools.handleOf(event.target) && !event.target.closest(".fv-divider")) stage.focus({ preventScroll: true });
    const start = { x: event.clientX, y: event.clientY };
    if (event.pointerType === "touch") {
      fingers.set(event.pointerId, start);
      clearTimeout(timer);
      if (fingers.size > 1) {
        tools.finish();
        action = null;
        return;
      }
      timer = setTimeout(() => {
        action = null;
        tools.finish();
        viewer.openTools();
      }, LONG_PRESS);
    }
    stage.setPointerCapture(event.pointerId);
    last = start;
    action = choose(event);
  });

  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      if (fingers.size > 1) {
        pinch(event, before);
        return;
      }
      if (Math.hypot(event.clientX - before.x, event.clientY - before.y) > STILL) clearTimeout(timer);
    } else viewer.pointAt(isControl(event) ? null : placeOf(event));
    if (!action) return;
    action(event, event.clientX - last.x, event.clientY - last.y);
    last = { x: event.clientX, y: event.clientY };
  });

  /** Two fingers: their middle moves the film, their distance magnifies it. */
  function pinch(event, before) {
    const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1];
    const now = { x: event.clientX, y: event.clientY };
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    viewer.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    const middle = { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 };
    viewer.zoom(apart(now) / apart(before), placeOf(middle));
    fingers.set(event.pointerId, now);
  }

  function end(event) {
    fingers.delete(event.pointerId);
    clearTimeout(timer);
    const { end: finish } = action ?? {};
    action = null;
    tools.finish();
    finish?.();
  }
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  stage.addEventListener("pointerleave", () => viewer.pointAt(null));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  // the browser would take two fingers for its own zoom
  stage.addEventListener(
    "touchmove",
    (event) => {
      if (event.touches.length > 1) event.preventDefault();
    },
    { passive: false },
  );
  stage.addEventListener("dblclick", (event) => {
    if (!isControl(event)) viewer.reset();
  });
  stage.addEventListener(
    "wheel",
    (event) => {
      if (event.target.closest(".fv-panel, dialog")) return;
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      // a pinch on a touch pad arrives as a wheel with Ctrl and small steps
      viewer.zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)), placeOf(event));
    },
    { passive: false },
  );

  const commands = {
    m: () => viewer.nextMap(),
    o: () => viewer.toggleOverlays(),
    i: () => viewer.setInverted(!view.inverted),
    r: () => viewer.reset(),
    f: () => viewer.toggleFullScreen(),
    "[": () => viewer.setOpacity(viewer.look.opacity - 0.1),
    "]": () => viewer.setOpacity(viewer.look.opacity + 0.1),
    "+": () => viewer.zoom(1.25),
    "=": () => viewer.zoom(1.25),
    "-": () => viewer.zoom(0.8),
    "−": () => viewer.zoom(0.8),
    0: () => viewer.zoomTo(1),
    "?": () => viewer.showHelp(),
    Escape: () => viewer.escape(),
    ArrowRight: () => viewer.stepFinding(1),
    ArrowDown: () => viewer.stepFinding(1),
    ArrowLeft: () => viewer.stepFinding(-1),
    ArrowUp: () => viewer.stepFinding(-1),
  };
  const arrows = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

  function keyOnHandle(event, handle) {
    if (event.key === "Delete" || event.key === "Backspace") tools.erase(handle.measurement.id);
    else if (arrows[event.key]) {
      const [x, y] = arrows[event.key].map((direction) => direction * (event.shiftKey ? 10 : 1));
      const film = viewer.films[handle.measurement.film];
      tools.moveHandle(handle, { x: handle.point.x + x / film.width, y: handle.point.y + y / film.height });
      viewer.measurementsChanged("");
    } else return false;
    return true;
  }

  function keyDown(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches?.("select")) return;
    if (viewer.root.querySelector("dialog[open]")) return;
    const inside = viewer.root.contains(target);
    // single letters act only while the viewer has the focus, or nothing has it and the mouse is over the viewer
    if (!inside && !(target === document.body && viewer.root.matches(":hover"))) return;
    if (event.key.toLowerCase() === "w") windowing = true;
    const handle = tools.handleOf(target);
    if (handle && keyOnHandle(event, handle)) {
      event.preventDefault();
      return;
    }
    const usesArrows = target.matches?.("input, .fv-divider");
    if (arrows[event.key] && usesArrows) return;
    if (arrows[event.key] && event.shiftKey) {
      const [x, y] = arrows[event.key];
      viewer.pan(-STEP * x, -STEP * y);
    } else if (/^[1-4]$/.test(event.key)) viewer.setMode(["film", "normal", "both", "swipe"][event.key - 1]);
    else if (event.key === "Enter" && target === stage && tools.tool !== "move") tools.insert();
    else {
      const command = commands[event.key] ?? commands[event.key.toLowerCase()];
      if (!command) return;
      command();
    }
    event.preventDefault();
  }
  document.addEventListener("keydown", keyDown, ending);
  document.addEventListener(
    "keyup",
    (event) => {
      if (event.key?.toLowerCase() === "w") windowing = false;
    },
    ending,
  );
  addEventListener(
    "blur",
    () => {
      windowing = false;
    },
    ending,
  );
  return () => ending.abort();
}
