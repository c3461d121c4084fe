// The saves of a session as a strip chart: a row for each number, a point for each save; a click chooses a save.
// Python's side is helpers/widgets/live.py.
const SVG = "http://www.w3.org/2000/svg";
const TEXT = "#7a7a7a", GOOD = "#009e73", BAD = "#c84400"; // the figures' colours
const LEFT = 130, RIGHT = 90, ROW = 34, PAD = 8;

function make(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}

function render({ model, el }) {
  el.classList.add("workbook-strip");
  const svg = make("svg", { role: "group", "aria-label": "saves; arrow keys go from save to save" });
  svg.tabIndex = 0;
  el.append(svg);

  function choose(number) {
    model.set("selected", number);
    model.save_changes();
  }

  function draw() {
    const saves = model.get("saves"), series = model.get("series"), chosen = model.get("selected");
    svg.replaceChildren();
    const wide = Math.max(300, el.clientWidth || 860), high = series.length * ROW + 22;
    svg.setAttribute("width", wide);
    svg.setAttribute("height", high);
    const step = (wide - LEFT - RIGHT) / Math.max(1, saves.length - 1);
    const x = (i) => (saves.length === 1 ? LEFT : LEFT + i * step);
    series.forEach((name, row) => {
      const values = saves.map((s) => s.values[name]?.[0] ?? null);
      const known = values.filter((v) => v !== null && Number.isFinite(v));
      const low = Math.min(...known), most = Math.max(...known);
      const top = row * ROW + PAD;
      const y = (v) => top + (ROW - 2 * PAD) * (most > low ? 1 - (v - low) / (most - low) : 0.5);
      make("text", { x: LEFT - 12, y: top + ROW / 2 - PAD + 4, "text-anchor": "end", fill: TEXT }, svg).textContent = name;
      const points = values.map((v, i) => (v === null || !Number.isFinite(v) ? null : `${x(i)},${y(v)}`)).filter(Boolean);
      make("polyline", { points: points.join(" "), fill: "none", stroke: TEXT, "stroke-opacity": 0.5 }, svg);
      saves.forEach((save, i) => {
        const v = values[i] !== null && Number.isFinite(values[i]) ? y(values[i]) : top + ROW - 2 * PAD;
        const color = save.verdict === "PASS" ? GOOD : save.verdict === "" ? TEXT : BAD;
        const is = save.number === chosen;
        const dot = make("circle", {
          cx: x(i), cy: v, r: is ? 6 : 4, fill: values[i] === null ? "none" : color, stroke: color, "stroke-width": is ? 2.5 : 1,
          "data-save": save.number, cursor: "pointer",
        }, svg);
        make("title", {}, dot).textContent = `save ${save.number}, ${save.when}: ${save.verdict || "running"}\n${name} ${save.values[name]?.[1] ?? "unknown"}`;
        dot.addEventListener("click", () => choose(save.number));
      });
      const last = saves.length ? saves[saves.length - 1].values[name]?.[1] ?? "" : "";
      make("text", { x: wide - RIGHT + 14, y: top + ROW / 2 - PAD + 4, fill: TEXT }, svg).textContent = last;
    });
    if (saves.length) {
      const y = series.length * ROW + 14;
      make("text", { x: LEFT, y, fill: TEXT, "text-anchor": "middle" }, svg).textContent = saves[0].number;
      if (saves.length > 1) make("text", { x: x(saves.length - 1), y, fill: TEXT, "text-anchor": "middle" }, svg).textContent = saves[saves.length - 1].number;
    }
  }

  svg.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const saves = model.get("saves");
    if (!by || !saves.length) return;
    const at = saves.findIndex((s) => s.number === model.get("selected"));
    choose(saves[Math.min(saves.length - 1, Math.max(0, (at < 0 ? saves.length - 1 : at) + by))].number);
    event.preventDefault();
  });
  model.on("change:saves", draw);
  model.on("change:series", draw);
  model.on("change:selected", draw);
  const seen = new ResizeObserver(draw);
  seen.observe(el);
  draw();
  return () => seen.disconnect();
}

export default { render };
