// What a person with good eyes would notice: each function gives what is wrong on the page, in words.
({
  // Text that is too faint for its size on what is below it (WCAG 2.1 AA, 1.4.3).
  contrast() {
    const rgb = (words) => words.match(/[\d.]+/g).map(Number);
    const over = (top, under) => [0, 1, 2].map((i) => top[i] * (top[3] ?? 1) + under[i] * (1 - (top[3] ?? 1)));
    const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ground = (node) => {
      const layers = [];
      for (let at = node; at; at = at.parentElement) {
        const style = getComputedStyle(at);
        const first = style.backgroundImage.match(/rgba?\([^)]*\)/); // of a gradient: where it is strongest
        if (first) layers.push(rgb(first[0]));
        layers.push(rgb(style.backgroundColor));
        if ((layers.at(-1)[3] ?? 1) === 1) break;
      }
      return layers.reduceRight((under, top) => over(top, under), [255, 255, 255]);
    };
    const poor = [], hidden = "script, noscript, option, .unseen-words, svg, [aria-hidden=true], .rank";
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const words = walker.currentNode.textContent.trim(), node = walker.currentNode.parentElement;
      if (!words || node.closest(hidden) || !node.checkVisibility()) continue;
      const style = getComputedStyle(node), under = ground(node);
      const [a, b] = [light(over(rgb(style.color), under)), light(under)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      if (ratio < (large ? 3 : 4.5)) poor.push(`${ratio.toFixed(2)} ${node.className}: ${words.slice(0, 40)}`);
    }
    return poor;
  },

  // What a finger would miss (WCAG 2.2 AA, 2.5.8).
  small() {
    const all = [...document.querySelectorAll("button, a.button, summary, input, select, textarea, nav a")];
    return all
      .filter((one) => one.checkVisibility() && !["hidden", "radio", "checkbox"].includes(one.type))
      .map((one) => [one, one.getBoundingClientRect()])
      .filter(([, box]) => box.width && (box.height < 24 || box.width < 24))
      .map(([one, box]) => `${one.tagName} ${one.textContent.trim().slice(0, 30)} ${box.width}x${box.height}`);
  },

  // What reaches beyond the right edge.
  cut() {
    return [...document.querySelectorAll("main *")]
      .filter((one) => one.checkVisibility() && !one.closest("pre, svg, .unseen-words, .sheet"))
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
      .map((one) => `${one.tagName}.${one.className} ${one.textContent.trim().slice(0, 40)}`);
  },

  // Texts that lie on top of each other.
  overlap() {
    const kinds = "h1, h2, h3, p, dt, dd, li > span, button, a.button, label > span, th, td, .pill, code";
    const boxes = [...document.querySelectorAll(kinds)]
      .filter((one) => one.checkVisibility() && one.textContent.trim())
      .filter((one) => !one.closest(".sheet, svg, .unseen-words"))
      .map((one) => [one, one.getBoundingClientRect()]);
    const found = [];
    for (const [i, [a, p]] of boxes.entries()) {
      for (const [b, q] of boxes.slice(i + 1)) {
        if (a.contains(b) || b.contains(a)) continue;
        const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        if (wide > 3 && high > 5) found.push(`${a.textContent.trim().slice(0, 30)} | ${b.textContent.trim().slice(0, 30)}`);
      }
    }
    return found.slice(0, 5);
  },
})
