// Charts of a run that goes on: recorded samples, and the numbers that probes see meanwhile. Drawn as the
// report's charts are (engine/reports/charts.py), which take their place once the run has ended.
const W = 560, H = 178, LEFT = 58, RIGHT = 10, TOP = 14, BOTTOM = 17, KEEP = 1200;
const SVG = "http://www.w3.org/2000/svg";
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400];

const put = (parent, name, facts, words) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(facts)) node.setAttribute(key, value);
  if (words !== undefined) node.textContent = words;
  parent.append(node);
  return node;
};

function compact(value) {
  for (const [limit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(value) >= limit) return `${Number((value / limit).toPrecision(3))}${letter}`;
  return String(Number(value.toPrecision(3)));
}

export function measure(value, unit) {
  if (unit === "share") return `${Number((value * 100).toPrecision(3))} %`;
  if (unit === "bytes") {
    let at = 0;
    while (Math.abs(value) >= 1024 && at < 4) { value /= 1024; at += 1; }
    return `${Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))} ${["B", "KiB", "MiB", "GiB", "TiB"][at]}`;
  }
  const figure = Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
  if (unit === "cores") return `${figure} ${value === 1 ? "core" : "cores"}`;
  return unit.endsWith("/s") ? `${figure}/s` : `${figure} ${unit}`.trim();
}

function nice(highest, unit) {
  if (!(highest > 0)) return 1;
  const [base, steps] = unit === "bytes" ? [2, [1, 1.5, 2]] : [10, [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10]];
  const scale = base ** Math.floor(Math.log(highest) / Math.log(base));
  return scale * (steps.find((step) => scale * step >= highest) ?? base);
}

const clock = (seconds) => {
  const h = Math.floor(seconds / 3600), m = Math.floor(seconds / 60) % 60, s = String(Math.floor(seconds % 60)).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
};

export class Charts {
  constructor(section) {
    this.section = section;
    this.place = section.querySelector(".charts");
    this.start = Number(document.getElementById("run").dataset.start);
    this.frames = [];
    this.marks = [];
    this.pauses = []; // stretches in which the run waited: left out, as in engine/reports/axis.py
    this.live = new Map(); // "label\0unit" → [[epoch seconds, value], …]
    this.drawn = new Map(); // title → figure
    this.stale = true;
    this.load();
    this.timer = setInterval(() => this.draw(), 1000);
  }

  async load() {
    if (!this.stale || this.loading) return;
    this.stale = false;
    this.loading = true;
    try {
      const answer = await fetch(this.section.dataset.series, { cache: "no-store" });
      if (answer.ok) Object.assign(this, await answer.json());
    } catch { this.stale = true; }
    this.loading = false;
    this.draw();
  }

  number({ label, value, unit, at }) {
    const key = `${label}\0${unit}`, kept = this.live.get(key) ?? [];
    kept.push([at, value]);
    if (kept.length > KEEP) kept.splice(0, kept.length - KEEP);
    this.live.set(key, kept);
    if (!this.soon) this.soon = requestAnimationFrame(() => { this.soon = 0; this.draw(); });
  }

  // Where a moment (epoch) is drawn: seconds along the axis.
  along(at) {
    return at - this.start - this.pauses.reduce((sum, one) => sum + Math.min(Math.max(at - one.from, 0), one.seconds), 0);
  }

  // Recorded frames, each with the live numbers that go on where its records end; then the rest.
  all() {
    const live = new Map([...this.live].map(([key, samples]) => [key, samples.map(([at, value]) => [this.along(at), value])]));
    const rest = new Map(live);
    const frames = this.frames.map((frame) => {
      const curves = frame.curves.map((curve) => ({ ...curve, windows: [...curve.windows] }));
      for (const [key, samples] of live) {
        const [label, unit] = key.split("\0");
        if (!frame.live || unit !== frame.unit || !label.endsWith(frame.live)) continue;
        rest.delete(key);
        const end = Math.max(0, ...curves[0].windows.map((window) => window.at(-1)[0]));
        const tail = samples.filter(([at]) => at > end + 0.2);
        if (tail.length > 1) curves[0].windows.push(tail);
      }
      return { ...frame, curves };
    });
    for (const [key, samples] of rest) {
      const [label, unit] = key.split("\0");
      frames.push({ title: label, unit, top: unit === "share" ? 1 : null, curves: [{ label, style: unit === "share" ? "fill" : unit === "cores" ? "cpu" : "other", windows: [samples] }] });
    }
    return frames;
  }

  draw() {
    if (document.hidden) return;
    const frames = this.all();
    this.section.hidden = !frames.length;
    const length = Math.max(10, this.along(Date.now() / 1000));
    for (const frame of frames) {
      let figure = this.drawn.get(frame.title);
      if (!figure) {
        figure = document.createElement("figure");
        this.drawn.set(frame.title, figure);
        this.place.append(figure);
      }
      figure.replaceChildren(caption(frame), picture(frame, this, length));
    }
    for (const [title, figure] of this.drawn) if (!frames.some((one) => one.title === title)) { figure.remove(); this.drawn.delete(title); }
  }
}

function caption(frame) {
  const node = document.createElement("figcaption");
  const last = frame.curves[0].windows.at(-1)?.at(-1)?.[1];
  node.append(Object.assign(document.createElement("b"), { textContent: frame.title }));
  if (last !== undefined) node.append(Object.assign(document.createElement("span"), { className: "change", textContent: measure(last, frame.unit) }));
  if (frame.curves.length > 1) {
    const keys = Object.assign(document.createElement("span"), { className: "keys" });
    for (const curve of frame.curves) keys.append(Object.assign(document.createElement("span"), { className: `key ${curve.style}`, textContent: curve.label }));
    node.append(keys);
  }
  return node;
}

function picture(frame, { marks, pauses }, length) {
  const wide = W - LEFT - RIGHT, high = H - TOP - BOTTOM;
  const highest = Math.max(0, ...frame.curves.flatMap((curve) => curve.windows.flatMap((window) => window.map(([, value]) => value))));
  const top = frame.top ?? nice(highest, frame.unit);
  const x = (at) => (LEFT + (at / length) * wide).toFixed(1), y = (value) => (TOP + high - (Math.min(value, top) / top) * high).toFixed(1);
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": frame.title })) svg.setAttribute(key, value);
  const plot = put(svg, "g", { class: "plot" });
  put(plot, "rect", { class: "background", x: LEFT, y: TOP, width: wide, height: high });
  const up = put(plot, "g", { class: "axis y" }), along = put(plot, "g", { class: "axis x" });
  for (const value of [0, top / 2, top]) {
    put(up, "path", { class: "line", d: `M${LEFT} ${y(value)}h${wide}` });
    put(up, "text", { x: LEFT - 5, y: Number(y(value)) + 4 }, frame.unit === "bytes" || frame.unit === "share" ? measure(value, frame.unit) : compact(value));
  }
  const step = STEPS.find((one) => length / one <= 7) ?? length / 6;
  for (let at = 0; at <= length; at += step) put(along, "text", { x: x(at), y: H - 3 }, clock(at + pauses.reduce((sum, one) => sum + (at > one.at ? one.seconds : 0), 0)));
  for (const one of pauses) put(put(svg, "g", { class: "series pause" }), "path", { class: "line", d: `M${x(one.at)} ${TOP + high}V${TOP}` });
  for (const curve of frame.curves) for (const window of curve.windows) {
    if (!window.length) continue;
    const points = window.map(([at, value]) => `${x(at)} ${y(value)}`).join("L");
    put(put(svg, "g", { class: `series ${curve.style} area` }), "path", { class: "line", d: `M${x(window[0][0])} ${y(0)}L${points}L${x(window.at(-1)[0])} ${y(0)}Z` });
    put(put(svg, "g", { class: `series ${curve.style} line` }), "path", { class: "line", d: `M${points}` });
  }
  for (const mark of marks) {
    const group = put(svg, "g", { class: "series mark" });
    put(group, "path", { class: "line", d: `M${x(mark.at)} ${TOP + high}V${TOP}` });
    put(group, "circle", { cx: x(mark.at), cy: TOP, r: 8 });
    put(group, "text", { x: x(mark.at), y: TOP + 4 }, mark.number);
  }
  return svg;
}
