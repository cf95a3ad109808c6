() => {
  // The viewer's rectangle tool for marks; a click, which draws no
  // rectangle, becomes a small one around its place.
  const viewer = document.querySelector("#reading-viewer .film-viewer")?.viewer;
  if (!viewer) return;
  viewer.setTool("rectangle");
  const stage = viewer.root.querySelector(".fv-stage"), reach = 0.02;
  if (stage.dataset.points) return;
  stage.dataset.points = "true";
  let start = null;
  stage.addEventListener("pointerdown", (event) => {
    start = event.button || event.target.closest("button, .fv-handle, .fv-panel, .fv-divider") ? null : event;
  }, true);
  stage.addEventListener("pointerup", (event) => {
    const still = start && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < 3;
    if (!still || viewer.tools.tool !== "rectangle") return;
    const { left, top } = stage.getBoundingClientRect();
    const point = { x: (event.clientX - left) * viewer.ratio, y: (event.clientY - top) * viewer.ratio };
    const pane = viewer.view.paneAt(point);
    if (!pane) return;
    const { x, y } = viewer.view.toFilm(pane, point);
    viewer.tools.begin(pane.film, { x: x - reach, y: y - reach });
    viewer.tools.drag({ x: x + reach, y: y + reach });
    viewer.tools.finish();
  });
}
