// What the page does beyond a page of paper: moments that go on, keys, live parts. Without it all works.
import { follow } from "./live.js";
import { keys } from "./keys.js";
import { tick } from "./moments.js";

tick(document);
setInterval(() => tick(document), 1000);
keys();
follow();

for (const form of document.querySelectorAll("form[data-auto]")) {
  form.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") form.requestSubmit(); });
}
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
// A form is sent once, however often its button is pressed at 3 a.m.
addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
// One sheet is open at a time; a click elsewhere or Escape closes it.
const sheets = () => document.querySelectorAll("details.menu[open], details.confirm[open]");
addEventListener("click", (event) => {
  for (const one of sheets()) if (!one.contains(event.target)) one.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const one of sheets()) { one.open = false; one.querySelector("summary").focus(); }
});
