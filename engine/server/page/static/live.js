// Live parts: the worker tells that something happened, and the parts of the page that change are asked
// for anew and put in place. What somebody types, opens or has focused stays as it is.
import { tick } from "./moments.js";
import { Charts } from "./charts.js";

const HIDDEN_MS = 30000, SOON_MS = 250, PATIENCE_MS = 15000;

export function follow() {
  const part = document.querySelector("[data-events]");
  if (part) new Live(part.dataset.events);
}

class Live {
  constructor(path) {
    this.path = path;
    this.pulse = document.getElementById("pulse");
    this.timer = 0;
    this.asking = false;
    this.again = false;
    this.touched = Date.now();
    this.idle = Number(document.body.dataset.idle) * 1000;
    this.charts = this.run() && document.getElementById("live") ? new Charts(document.getElementById("live")) : null;
    if (this.charts) document.getElementById("drawn")?.remove();
    for (const kind of ["pointerdown", "keydown", "scroll"]) {
      addEventListener(kind, () => this.touch(), { passive: true, capture: true });
    }
    document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.wake()));
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => { if (event.persisted) this.wake(); });
    this.open();
  }

  run() { return document.getElementById("run"); }

  say(words, on) {
    this.pulse.className = `pulse ${on ? "on" : "off"}`;
    if (this.pulse.textContent !== words) this.pulse.textContent = words;
  }

  touch() {
    const rested = this.rests;
    this.touched = Date.now();
    if (rested) { this.rests = false; this.wake(); }
  }

  open() {
    this.close();
    if (document.hidden) { this.poll(); return; }
    const last = this.row || this.run()?.dataset.last || "";
    const source = new EventSource(this.path + (last ? `?after=${encodeURIComponent(last)}` : ""));
    this.source = source;
    source.addEventListener("open", () => this.say("Live", true));
    source.addEventListener("error", () => {
      this.say("The connection broke; trying again", false);
      if (source.readyState === EventSource.CLOSED) { this.soon(); this.later(PATIENCE_MS); }
    });
    source.addEventListener("over", () => { this.close(); this.soon(); });
    source.addEventListener("happened", (event) => this.happened(event));
    source.addEventListener("number", (event) => this.charts?.number(JSON.parse(event.data)));
    clearInterval(this.watch);
    if (this.idle) this.watch = setInterval(() => this.nap(), 20000);
  }

  later(ms) { clearTimeout(this.retry); this.retry = setTimeout(() => this.open(), ms); }

  close() {
    clearTimeout(this.retry);
    clearInterval(this.polling);
    this.source?.close();
    this.source = null;
  }

  // A login that nobody uses must end, though its page is open.
  nap() {
    if (Date.now() - this.touched < this.idle) return;
    this.rests = true;
    this.close();
    this.say("Paused, since nobody was here; touch the page to go on", false);
  }

  rest() { this.close(); this.poll(); }
  poll() { clearInterval(this.polling); this.polling = setInterval(() => { if (Date.now() - this.touched < (this.idle || Infinity)) this.soon(); }, HIDDEN_MS); }
  wake() { if (this.rests) return; this.soon(); this.open(); }

  happened(event) {
    if (event.lastEventId) this.row = event.lastEventId;
    const { what } = JSON.parse(event.data);
    if (this.charts && ["seen", "applied", "target-found"].includes(what)) this.charts.stale = true;
    this.soon();
  }

  soon() {
    if (this.asking) { this.again = true; return; }
    if (!this.timer) this.timer = setTimeout(() => this.refresh(), SOON_MS);
  }

  async refresh() {
    this.timer = 0;
    this.asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Parts": "live" }, cache: "no-store", redirect: "manual" });
      if (answer.status === 401 || answer.type === "opaqueredirect") { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      this.put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      this.say("The server does not answer; trying again", false);
      setTimeout(() => this.soon(), PATIENCE_MS);
    } finally {
      this.asking = false;
      if (this.again) { this.again = false; this.soon(); }
    }
  }

  put(fresh) {
    const before = this.run()?.dataset;
    const was = before && { ...before };
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const place = document.getElementById(part.id);
      if (place) swap(place, part);
    }
    const count = fresh.getElementById("waiting-count"), shown = document.getElementById("waiting-count");
    if (count && shown) shown.replaceWith(count);
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").getAttribute("href");
    tick(document);
    const now = this.run()?.dataset;
    if (!now) return;
    const going = (state) => state === "running" || state === "queued";
    if (going(was.state) !== going(now.state)) { location.reload(); return; } // charts come or go
    if (!now.events) { this.close(); this.say("It has ended", true); }
    if (this.charts?.stale) this.charts.load();
  }
}

// Puts the new part in place of the old one; keeps what is open, what is written and where the focus is.
function swap(place, part) {
  if (place.innerHTML === part.innerHTML) return;
  const active = document.activeElement;
  if (place.contains(active) && active.closest("form")) {
    if (question(place) === question(part)) return; // somebody is answering just now
  }
  if (place.querySelector("details.confirm[open]")) return;
  const open = new Set([...place.querySelectorAll("details[open][id]")].map((one) => one.id));
  const written = new Map([...place.querySelectorAll("textarea, input:not([type=hidden])")].filter((one) => one.name && one.type !== "radio").map((one) => [one.name, one.value]));
  const known = new Set([...place.querySelectorAll("li[id]")].map((one) => one.id));
  const focused = place.contains(active) ? handle(active) : null;
  if (question(place) !== question(part)) written.clear();
  place.replaceChildren(...part.childNodes);
  for (const name of Object.keys(place.dataset)) if (!(name in part.dataset)) delete place.dataset[name];
  Object.assign(place.dataset, part.dataset);
  for (const one of place.querySelectorAll("details[id]")) if (open.has(one.id)) one.open = true;
  for (const one of place.querySelectorAll("textarea, input:not([type=hidden])")) {
    if (one.name && one.type !== "radio" && written.has(one.name)) one.value = written.get(one.name);
  }
  if (known.size) for (const one of place.querySelectorAll("li[id]")) if (!known.has(one.id)) one.classList.add("new");
  if (focused) find(place, focused)?.focus({ preventScroll: true });
}

const question = (root) => root.querySelector("input[name=digest], input[name=step]")?.value ?? "";
const handle = (node) => ({ tag: node.tagName, href: node.getAttribute("href"), name: node.getAttribute("name"), words: node.textContent });
const find = (root, wanted) => [...root.querySelectorAll(wanted.tag)].find((one) => one.getAttribute("href") === wanted.href && one.getAttribute("name") === wanted.name && one.textContent === wanted.words) ?? [...root.querySelectorAll(wanted.tag)].find((one) => one.getAttribute("href") && one.getAttribute("href") === wanted.href);
