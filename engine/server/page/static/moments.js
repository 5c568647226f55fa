// Moments that grow older and stretches that run out, in the words of engine/text.py.
const SIZES = [[86400, "d"], [3600, "h"], [60, "min"]];

export function ago(seconds) {
  for (const [size, unit] of SIZES) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}

export function span(seconds) {
  const whole = Math.round(seconds);
  for (const [large, small, a, b] of [[86400, 3600, "d", "h"], [3600, 60, "h", "min"], [60, 1, "min", "s"]]) {
    if (whole < large) continue;
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large)} ${a}` + (rest ? ` ${rest} ${b}` : "");
  }
  return `${whole} s`;
}

export function since(seconds) {
  const whole = Math.max(0, Math.floor(seconds)), two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `+${h}:${two(m)}:${two(s)}` : `+${m}:${two(s)}`;
}

const set = (node, words) => { if (node.textContent !== words) node.textContent = words; };
// The day only where it is not today; the zone always, since people hand over between zones.
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" });
const day = new Intl.DateTimeFormat("sv-SE");

function local(node) {
  const at = new Date(Number(node.dataset.local) * 1000);
  if (!node.title) node.title = node.textContent;
  const today = day.format(at) === day.format(new Date());
  set(node, today ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`);
}

export function tick(root) {
  const now = Date.now() / 1000;
  for (const one of root.querySelectorAll("[data-ago]")) set(one, `${ago(now - Number(one.dataset.ago))} ago`);
  for (const one of root.querySelectorAll("[data-until]")) {
    const left = Number(one.dataset.until) - now;
    set(one, left > 0 ? `${span(left)} left` : "its time is up");
  }
  for (const one of root.querySelectorAll("[data-for]")) set(one, span(now - Number(one.dataset.for)));
  for (const one of root.querySelectorAll("[data-since]")) set(one, since(now - Number(one.dataset.since)));
  for (const one of root.querySelectorAll("progress[data-from]")) one.value = Math.min(one.max, now - Number(one.dataset.from));
  for (const one of root.querySelectorAll("[data-local]")) local(one);
}
