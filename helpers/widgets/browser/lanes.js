// A swimlane that can be zoomed and clicked. Python's side is helpers/widgets/timeline.py; it sends one entry a bar.
const TEXT = "#7a7a7a"; // reads on white and on black, as in the figures
const LEFT = 76, BOTTOM = 22, TOP = 4, RIGHT = 8;

function array(model, name, Type) {
  const view = model.get(name);
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function timeText(us, unit) {
  const [name, scale] = unit >= 5e6 ? ["s", 1e6] : unit >= 5e3 ? ["ms", 1e3] : ["µs", 1];
  return `${Number((us / scale).toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 4 })} ${name}`;
}

function button(text, title, press) {
  const made = document.createElement("button");
  made.textContent = text;
  made.title = title;
  made.setAttribute("aria-label", title);
  made.addEventListener("click", press);
  return made;
}

function render({ model, el }) {
  el.classList.add("workbook-lanes");
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  const bar = document.createElement("div");
  bar.className = "workbook-bar";
  const where = document.createElement("span");
  const tip = document.createElement("div");
  tip.className = "workbook-tip";
  tip.hidden = true;
  el.append(bar, canvas, tip);

  let start, end, lane, name, task, rows;
  function load() {
    start = array(model, "starts", Float32Array);
    end = array(model, "ends", Float32Array);
    lane = array(model, "lanes", Uint16Array);
    name = array(model, "names", Uint16Array);
    task = array(model, "tasks", Uint32Array);
    rows = model.get("lane_names").map(() => []); // bars of each lane; they come sorted by start
    for (let i = 0; i < lane.length; i++) rows[lane[i]].push(i);
    canvas.setAttribute("aria-label", `swimlane of ${lane.length} bars; arrow keys go from task to task`);
  }

  const whole = () => [0, model.get("makespan") || 1];
  const span = () => (model.get("span").length === 2 ? model.get("span") : whole());
  const plot = () => canvas.clientWidth - LEFT - RIGHT;
  const high = () => Math.max(5, Math.min(18, 420 / Math.max(1, rows.length)));
  const xOf = (t) => LEFT + ((t - span()[0]) / (span()[1] - span()[0])) * plot();
  const tOf = (x) => span()[0] + ((x - LEFT) / plot()) * (span()[1] - span()[0]);

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const h = high(), height = TOP + rows.length * h + BOTTOM;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(height * ratio);
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    c.font = "11px sans-serif";
    const names = model.get("lane_names"), colors = model.get("colors"), shade = model.get("shades");
    const [from, to] = span(), scale = plot() / (to - from);
    const every = Math.ceil(13 / h);
    c.fillStyle = TEXT;
    c.textAlign = "right";
    c.textBaseline = "middle";
    names.forEach((n, i) => {
      if (i % every === 0) c.fillText(n, LEFT - 6, TOP + (i + 0.5) * h);
    });
    ticks(c, from, to, TOP + rows.length * h);
    c.save();
    c.beginPath();
    c.rect(LEFT, 0, plot(), height);
    c.clip();
    rows.forEach((bars, row) => {
      const y = TOP + row * h + 0.5;
      let column = -1, busy = 0, widest = 0, color = ""; // bars of less than a pixel: a column's shade is its share
      const flush = () => {
        if (!busy) return;
        c.fillStyle = color;
        c.globalAlpha = 0.2 + 0.8 * Math.min(1, busy);
        c.fillRect(column, y, 1, h - 1);
        c.globalAlpha = 1;
        busy = widest = 0;
      };
      for (let k = Math.max(0, after(bars, from) - 1); k < bars.length; k++) {
        const i = bars[k];
        if (start[i] > to) break;
        const x = LEFT + (start[i] - from) * scale, wide = (end[i] - start[i]) * scale;
        const mine = colors[shade[name[i]]];
        if (wide >= 1) {
          c.fillStyle = mine;
          c.fillRect(x, y, wide > 3 ? wide - 0.75 : wide, h - 1);
          continue;
        }
        if (Math.floor(x) !== column) {
          flush();
          column = Math.floor(x);
        }
        busy += wide;
        if (wide > widest) [widest, color] = [wide, mine];
      }
      flush();
    });
    const chosen = model.get("selected");
    if (chosen >= 0) {
      c.strokeStyle = TEXT;
      c.lineWidth = 2;
      for (let i = 0; i < task.length; i++) {
        if (task[i] !== chosen) continue;
        const x = xOf(start[i]);
        c.strokeRect(x - 1, TOP + lane[i] * h - 0.5, Math.max(xOf(end[i]) - x, 2) + 2, h + 1);
      }
    }
    if (brush) {
      c.fillStyle = "#7a7a7a40";
      c.fillRect(Math.min(brush[0], brush[1]), TOP, Math.abs(brush[1] - brush[0]), rows.length * h);
    }
    c.restore();
    where.textContent = `${timeText(from, to - from)} to ${timeText(to, to - from)}, ${model.get("kind")}`;
  }

  function ticks(c, from, to, y) {
    const rough = (to - from) / Math.max(2, plot() / 110), power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
    c.textAlign = "center";
    c.textBaseline = "top";
    c.strokeStyle = "#7a7a7a4d";
    for (let k = Math.ceil(from / step); k * step <= to; k++) {
      const x = xOf(k * step);
      c.beginPath();
      c.moveTo(x, TOP);
      c.lineTo(x, y + 3);
      c.stroke();
      if (x < canvas.clientWidth - 28 && x > LEFT - 1) c.fillText(timeText(k * step, to - from), x, y + 6);
    }
  }

  // How many bars of a lane start at or before t.
  function after(bars, t) {
    let low = 0, top = bars.length;
    while (low < top) {
      const middle = (low + top) >> 1;
      if (start[bars[middle]] <= t) low = middle + 1;
      else top = middle;
    }
    return low;
  }

  function hit(event) {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top - TOP) / high());
    const x = event.clientX - box.left;
    if (!rows[row] || x < LEFT) return -1;
    const t = tOf(x), slack = (2 / plot()) * (span()[1] - span()[0]);
    const k = after(rows[row], t);
    const near = [k - 1, k].filter((j) => rows[row][j] !== undefined).map((j) => rows[row][j]);
    const off = (i) => Math.max(0, start[i] - t, t - end[i]);
    near.sort((a, b) => off(a) - off(b));
    return near.length && off(near[0]) <= slack ? near[0] : -1;
  }

  function show(from, to) {
    const [low, top] = whole(), wide = Math.min(top - low, Math.max(to - from, (top - low) * 1e-6));
    const first = Math.min(Math.max(low, from), top - wide);
    model.set("span", [first, first + wide]);
    model.save_changes();
    draw();
  }

  function zoom(factor, at) {
    const [from, to] = span(), t = at === undefined ? (from + to) / 2 : at;
    show(t - (t - from) * factor, t + (to - t) * factor);
  }

  function choose(i) {
    model.set("selected", i < 0 ? -1 : task[i]);
    model.save_changes();
    if (i >= 0 && (end[i] < span()[0] || start[i] > span()[1])) {
      const wide = span()[1] - span()[0];
      show(start[i] - wide / 2, start[i] + wide / 2);
    }
    draw();
  }

  let brush = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const x = event.clientX - canvas.getBoundingClientRect().left;
    brush = [x, x];
  });
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    if (brush) {
      brush[1] = Math.max(LEFT, event.clientX - box.left);
      tip.hidden = true;
      draw();
      return;
    }
    const i = hit(event);
    canvas.style.cursor = i < 0 ? "crosshair" : "pointer";
    tip.hidden = i < 0;
    if (i < 0) return;
    const lasted = timeText(end[i] - start[i], end[i] - start[i]);
    tip.textContent = `${model.get("name_list")[name[i]]}, ${model.get("lane_names")[lane[i]]}, ${lasted}`;
    const home = el.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX - home.left + 12, home.width - tip.offsetWidth - 4)}px`;
    tip.style.top = `${event.clientY - home.top + 14}px`;
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!brush) return;
    const [a, b] = brush;
    brush = null;
    if (Math.abs(b - a) < 5) choose(hit(event));
    else show(tOf(Math.max(LEFT, Math.min(a, b))), tOf(Math.max(a, b)));
  });
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  canvas.addEventListener("dblclick", () => show(...whole()));
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the notebook
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, tOf(event.clientX - canvas.getBoundingClientRect().left));
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 0.5 : 2);
    else if (event.key === "Escape") choose(-1);
    else if (move) go(...move);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // From the chosen task to the next one of its lane, or to the one of the next lane that runs then.
  function go(down, right) {
    const now = task.indexOf(model.get("selected"));
    if (now < 0) return choose(rows.find((r) => r.length)?.[0] ?? -1);
    const row = lane[now] + down;
    if (!rows[row]?.length) return;
    const at = down ? Math.max(0, after(rows[row], start[now]) - 1) : rows[row].indexOf(now) + right;
    if (rows[row][at] !== undefined) choose(rows[row][at]);
  }

  bar.append(
    button("+", "zoom in", () => zoom(0.5)),
    button("−", "zoom out", () => zoom(2)),
    button("◀", "earlier", () => show(span()[0] - (span()[1] - span()[0]) / 2, span()[1] - (span()[1] - span()[0]) / 2)),
    button("▶", "later", () => show(span()[0] + (span()[1] - span()[0]) / 2, span()[1] + (span()[1] - span()[0]) / 2)),
    button("all", "show all", () => show(...whole())),
    where,
  );
  const legend = document.createElement("div");
  legend.className = "workbook-legend";
  el.insertBefore(legend, canvas);
  function explain() {
    legend.replaceChildren(
      ...model.get("labels").map((label, i) => {
        const item = document.createElement("span"), swatch = document.createElement("i");
        swatch.style.background = model.get("colors")[i];
        item.append(swatch, label);
        return item;
      }),
    );
  }
  const again = () => {
    load();
    explain();
    draw();
  };
  again();
  const size = new ResizeObserver(() => canvas.clientWidth && draw());
  size.observe(el);
  model.on("change:tasks", again);
  model.on("change:span", draw);
  model.on("change:selected", draw);
  return () => {
    size.disconnect();
    model.off("change:tasks", again);
    model.off("change:span", draw);
    model.off("change:selected", draw);
  };
}

export default { render };
