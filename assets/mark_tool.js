() => {
  // The viewer's rectangle tool for marks; a click, which draws no
  // rectangle, becomes a small one around its place. Marks have numbers.
  const viewer = document.querySelector("#reading-viewer .film-viewer")?.viewer;
  if (!viewer) return;
  viewer.setTool("rectangle");
  const { tools } = viewer;
  if (tools.measurements.length) tools.erase(); // those of the set before, if it begins with the same film
  tools.short = (mark) =>
    String(tools.measurements.filter(({ kind }) => kind === "rectangle").indexOf(mark) + 1);
  const stage = viewer.root.querySelector(".fv-stage"), reach = 0.02;
  if (stage.dataset.points) return;
  stage.dataset.points = "true";
  let start = null;
  stage.addEventListener("pointerdown", (event) => {
    start = event.button || event.target.closest("button, .fv-handle, .fv-panel, .fv-divider") ? null : event;
  }, true);
  stage.addEventListener("pointerup", (event) => {
    const still = start && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < 3;
    const points = tools.drawing?.points;
    if (!still || !points || tools.tool !== "rectangle") return;
    const { x, y } = points[0];
    Object.assign(points[0], { x: x - reach, y: y - reach });
    Object.assign(points[1], { x: x + reach, y: y + reach });
  }, true);
}
