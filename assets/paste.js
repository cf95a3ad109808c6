// A picture that is pasted anywhere on the page, or dropped on the viewer, goes to the film's drop zone.
function openFilm(files, event) {
  const input = document.querySelector("#film-file input[type=file]");
  if (!files?.length || !input || input.closest("#film-file").offsetParent === null) return;
  const carried = new DataTransfer();
  carried.items.add(files[0]);
  input.files = carried.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  event.preventDefault();
}
document.addEventListener("paste", (event) => openFilm(event.clipboardData?.files, event));
document.addEventListener("dragover", (event) => {
  if (event.target.closest?.("#viewer")) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  if (event.target.closest?.("#viewer")) openFilm(event.dataTransfer?.files, event);
});
