// A picture pasted anywhere on the page goes to the film input that is visible, as if it had been dropped there.
document.addEventListener("paste", (event) => {
  const files = event.clipboardData ? event.clipboardData.files : [];
  if (!files.length) return;
  const inputs = [...document.querySelectorAll("[id^='film-file'] input[type=file]")];
  const input = inputs.find((entry) => entry.closest("[id^='film-file']").offsetParent !== null);
  if (!input) return;
  const carried = new DataTransfer();
  carried.items.add(files[0]);
  input.files = carried.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  event.preventDefault();
});
