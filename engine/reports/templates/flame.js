"use strict";
for (const flame of document.querySelectorAll(".flame")) {
  const boxes = [...flame.querySelectorAll(".box")].map((element, index) => {
    const { left, width, top } = element.style;
    const from = parseFloat(left), wide = parseFloat(width);
    return { element, index, from, wide, to: from + wide, top: parseFloat(top), samples: +element.dataset.n, name: element.textContent, told: element.title };
  });
  const [whole] = boxes, says = flame.querySelector(".says"), tools = flame.querySelector(".tools");
  const [search, out] = [tools.querySelector("input"), tools.querySelector("button")];
  const rest = says.textContent, hair = 1e-3;
  let zoomed = whole, here = whole;
  tools.hidden = false;

  const within = (box, outer) => box.from >= outer.from - hair && box.to <= outer.to + hair;
  const above = (box) => boxes.filter((one) => one.top < box.top && within(box, one)).at(-1);
  const shown = (box) => !box.element.hidden;
  const tell = (box) => { says.textContent = box ? box.told + (zoomed === whole ? "" : ", " + (box.samples / zoomed.samples * 100).toPrecision(3) + " % of " + zoomed.name) : rest; };

  function zoom(box) {
    zoomed = box;
    for (const one of boxes) {
      const inside = one.top >= box.top && within(one, box), around = one.top < box.top && within(box, one);
      one.element.hidden = !(inside || around);
      one.element.classList.toggle("around", around);
      one.element.style.left = around ? "0%" : (one.from - box.from) / box.wide * 100 + "%";
      const wide = around ? 1 : one.wide / box.wide;
      one.element.style.width = wide * 100 + "%";
      one.element.classList.toggle("thin", wide < 0.024);
      one.element.classList.toggle("slim", wide < 0.07);
    }
    out.disabled = box === whole;
    go(box);
  }
  function go(box, focus) {
    if (!box) return;
    here.element.tabIndex = -1;
    here = box;
    here.element.tabIndex = 0;
    if (focus) here.element.focus();
  }
  function find() {
    const wanted = search.value.trim().toLowerCase();
    let found = 0, until = -1;
    for (const box of boxes) {
      const hit = wanted !== "" && box.name.toLowerCase().includes(wanted);
      box.element.classList.toggle("hit", hit);
      if (hit && box.from >= until - hair) { found += box.samples; until = box.to; }
    }
    flame.classList.toggle("searching", wanted !== "");
    says.textContent = wanted === "" ? rest : (found / whole.samples * 100).toPrecision(3) + " % of the samples are in functions with “" + search.value.trim() + "”";
  }
  const steps = {
    ArrowUp: () => above(here),
    ArrowDown: () => boxes.find((one) => shown(one) && one.top > here.top && within(one, here)),
    ArrowRight: () => boxes.find((one) => shown(one) && one.top === here.top && one.from >= here.to - hair),
    ArrowLeft: () => boxes.filter((one) => shown(one) && one.top === here.top && one.to <= here.from + hair).sort((a, b) => a.from - b.from).at(-1),
    Home: () => whole,
  };

  for (const box of boxes) {
    box.element.tabIndex = box === whole ? 0 : -1;
    box.element.setAttribute("role", "button");
    box.element.setAttribute("aria-label", box.told);
    box.element.addEventListener("click", () => { zoom(box); tell(box); });
    box.element.addEventListener("mouseenter", () => tell(box));
    box.element.addEventListener("focus", () => { go(box); tell(box); });
  }
  flame.querySelector(".boxes").addEventListener("mouseleave", () => tell());
  flame.querySelector(".boxes").addEventListener("keydown", (event) => {
    if (steps[event.key]) go(steps[event.key](), true);
    else if (event.key === "Enter" || event.key === " ") zoom(here);
    else if (event.key === "Escape") { zoom(whole); go(whole, true); }
    else if (event.key === "/") search.focus();
    else return;
    event.preventDefault();
  });
  search.addEventListener("input", find);
  search.addEventListener("keydown", (event) => { if (event.key === "Escape") { search.value = ""; find(); } });
  out.addEventListener("click", () => { zoom(whole); tell(); });
}
