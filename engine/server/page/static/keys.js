// Keys for people who don't want to look for the mouse: g and a letter goes, j and k walk, ? tells.
// They can be switched off (WCAG 2.1.4), and never act while somebody writes.
const OFF = "runbook-keys-off";
const off = () => { try { return localStorage.getItem(OFF) === "yes"; } catch { return false; } };
const writes = (node) => node.closest("input, select, textarea, [contenteditable]");

function help() {
  const dialog = document.createElement("dialog");
  const title = Object.assign(document.createElement("h2"), { textContent: "Keys", id: "keys-title" });
  dialog.setAttribute("aria-labelledby", "keys-title");
  const list = document.createElement("dl");
  const rows = [...document.querySelectorAll("nav [data-key]")].map((one) => [`g ${one.dataset.key}`, one.firstChild.textContent.trim()]);
  if (document.querySelector(".me [data-key=s]")) rows.push(["g s", "Start a run"]);
  rows.push(["j  k", "Next and previous in a list"], ["/", "Search or filter"], ["?", "This help"], ["Esc", "Close"]);
  for (const [keys, words] of rows) {
    const term = document.createElement("dt");
    for (const key of keys.split(/\s+/)) term.append(Object.assign(document.createElement("kbd"), { textContent: key }), " ");
    list.append(term, Object.assign(document.createElement("dd"), { textContent: words }));
  }
  const label = Object.assign(document.createElement("label"), { className: "tick" });
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !off() });
  box.addEventListener("change", () => { try { localStorage.setItem(OFF, box.checked ? "no" : "yes"); } catch { /* not kept */ } });
  label.append(box, " Keys are on");
  const close = Object.assign(document.createElement("button"), { className: "quiet small", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  dialog.append(title, list, label, close);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function walk(step) {
  const all = [...document.querySelectorAll(".cover")];
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step))];
  next.focus();
  next.closest("li")?.scrollIntoView({ block: "nearest" });
}

export function keys() {
  let went = 0;
  const hint = document.querySelector(".keys-hint");
  if (hint && matchMedia("(pointer: fine)").matches) hint.hidden = false;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (writes(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key === "?") { event.preventDefault(); help(); return; }
    if (off()) return;
    if (Date.now() - went < 1500) {
      const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      went = 0;
      if (link) { event.preventDefault(); link.click(); }
    } else if (event.key === "g") went = Date.now();
    else if (event.key === "j") walk(1);
    else if (event.key === "k") walk(-1);
    else if (event.key === "/") {
      const field = document.querySelector(".filters input:not([type=hidden])");
      if (field) { event.preventDefault(); field.focus(); }
    }
  });
}
