// Tiles side by side as heatmaps whose elements can be read. Python's side is helpers/widgets/look.py.
const TEXT = "#7a7a7a"; // reads on white and on black, as in the figures
const GAP = 24, TOP = 18, LOW = 6, BARS = 44, LABEL = 16, BINS = 40, MOST = 512;

function numbers(view) {
  return new Float64Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function text(value) {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? String(Number(value.toPrecision(7))) : value > 0 ? "inf" : "-inf";
}

function render({ model, el }) {
  el.classList.add("workbook-tile");
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  const tip = document.createElement("div");
  tip.className = "workbook-tip";
  tip.hidden = true;
  el.append(canvas, tip);
  let tiles = []; // {title, rows, columns, validRows, validColumns, values, top}
  let boxes = []; // where each is drawn: left, top, width, height
  let at = null; // [tile, row, column] under the pointer or the keys

  function load() {
    const all = numbers(model.get("values"));
    let from = 0;
    tiles = model.get("tiles").map((t) => {
      const values = all.subarray(from, from + t.valid[0] * t.valid[1]);
      from += values.length;
      const top = values.reduce((most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most), 0);
      return { ...t, values, top };
    });
    if (at && !tiles[at[0]]) at = null;
    canvas.setAttribute("aria-label", tiles.map((t) => t.alt).join("; ") + "; arrow keys go from element to element");
  }

  const rgb = model.get("colors").map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
  function shade(tile, value) {
    if (!Number.isFinite(value)) return [...rgb[2], 255];
    const share = tile.top ? Math.abs(value) / tile.top : 0;
    return [...rgb[value < 0 ? 1 : 0], Math.round(16 + 239 * share)];
  }

  function picture(tile) {
    const [rows, columns] = tile.valid;
    const high = Math.min(rows, MOST), wide = Math.min(columns, MOST);
    const made = new OffscreenCanvas(Math.max(1, wide), Math.max(1, high)), c = made.getContext("2d");
    const pixels = c.createImageData(made.width, made.height);
    for (let y = 0; y < high; y++)
      for (let x = 0; x < wide; x++) {
        const value = tile.values[Math.floor((y * rows) / high) * columns + Math.floor((x * columns) / wide)];
        pixels.data.set(shade(tile, value), 4 * (y * made.width + x));
      }
    c.putImageData(pixels, 0, 0);
    return made;
  }

  // How often each value occurs, by the logarithm, above the smallest and the largest one.
  function bars(c, tile, left, top, width) {
    const finite = tile.values.filter(Number.isFinite);
    if (!finite.length) return;
    const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
    const counts = new Array(BINS).fill(0);
    for (const v of finite) counts[high > low ? Math.min(BINS - 1, Math.floor(((v - low) / (high - low)) * BINS)) : BINS >> 1]++;
    const most = Math.log1p(Math.max(...counts)), wide = width / BINS;
    c.fillStyle = model.get("colors")[0];
    counts.forEach((n, i) => {
      const tall = (Math.log1p(n) / most) * BARS;
      c.fillRect(left + i * wide, top + BARS - tall, Math.max(1, wide - 1), tall);
    });
    c.fillStyle = TEXT;
    c.fillText(text(low), left, top + BARS + 12);
    c.textAlign = "right";
    c.fillText(text(high), left + width, top + BARS + 12);
    c.textAlign = "center";
    c.fillText(`${finite.length} of ${tile.values.length} finite; how often, by the logarithm`, left + width / 2, top + BARS + 12);
    c.textAlign = "left";
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
    const each = (width - GAP * (tiles.length - 1)) / Math.max(1, tiles.length);
    const heights = tiles.map((t) => Math.min(260, Math.max(28, (t.shape[0] / t.shape[1]) * each, Math.min(120, 7 * t.shape[0]))));
    const below = TOP + Math.max(0, ...heights) + LOW, height = below + BARS + LABEL;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    c.imageSmoothingEnabled = false;
    c.font = "11px sans-serif";
    boxes = tiles.map((t, i) => ({ left: i * (each + GAP), top: TOP, width: each, height: heights[i] }));
    tiles.forEach((t, i) => {
      const { left, top, width: w, height: h } = boxes[i];
      c.fillStyle = TEXT;
      c.fillText(t.title, left, 11, w);
      if (t.values.length) c.drawImage(picture(t), left, top, (w * t.valid[1]) / t.shape[1], (h * t.valid[0]) / t.shape[0]);
      c.strokeStyle = "#7a7a7a80";
      c.setLineDash([2, 3]);
      c.strokeRect(left + 0.5, top + 0.5, w - 1, h - 1);
      c.setLineDash([]);
      bars(c, t, left, below, w);
    });
    if (at) {
      const { left, top, width: w, height: h } = boxes[at[0]], t = tiles[at[0]];
      c.strokeStyle = TEXT;
      c.lineWidth = 2;
      const wide = w / t.shape[1], high = h / t.shape[0];
      c.strokeRect(left + at[2] * wide - 1, top + at[1] * high - 1, Math.max(wide, 3) + 2, Math.max(high, 3) + 2);
    }
  }

  function point(where) {
    at = where;
    tip.hidden = !at;
    if (at) {
      const [i, row, column] = at, t = tiles[i], box = boxes[i];
      const said = [`[${row}, ${column}]: ${text(t.values[row * t.valid[1] + column])}`];
      const other = tiles[1 - i];
      if (tiles.length === 2 && row < other.valid[0] && column < other.valid[1])
        said.push(`${text(other.values[row * other.valid[1] + column])} in ${other.title}`);
      tip.textContent = said.join(", ");
      const x = box.left + ((column + 0.5) / t.shape[1]) * box.width, y = box.top + ((row + 0.5) / t.shape[0]) * box.height;
      tip.style.left = `${Math.max(0, Math.min(x + 10, canvas.clientWidth - tip.offsetWidth - 4))}px`;
      tip.style.top = `${y + 12}px`;
    }
    draw();
  }

  canvas.addEventListener("pointermove", (event) => {
    const home = canvas.getBoundingClientRect(), x = event.clientX - home.left, y = event.clientY - home.top;
    const i = boxes.findIndex((b) => x >= b.left && x < b.left + b.width && y >= b.top && y < b.top + b.height);
    if (i < 0) return point(null);
    const row = Math.floor(((y - boxes[i].top) / boxes[i].height) * tiles[i].shape[0]);
    const column = Math.floor(((x - boxes[i].left) / boxes[i].width) * tiles[i].shape[1]);
    point(row < tiles[i].valid[0] && column < tiles[i].valid[1] ? [i, row, column] : null);
  });
  canvas.addEventListener("pointerleave", () => point(null));
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (event.key === "Escape") point(null);
    else if (move && tiles.some((t) => t.values.length)) {
      const inside = (n, most) => Math.min(most - 1, Math.max(0, n));
      if (!at) return point([tiles.findIndex((t) => t.values.length), 0, 0]);
      const [i, row, column] = at, t = tiles[i];
      point([i, inside(row + move[0], t.valid[0]), inside(column + move[1], t.valid[1])]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const changed = () => {
    load();
    point(null);
  };
  load();
  model.on("change:values", changed);
  model.on("change:tiles", changed);
  const seen = new ResizeObserver(draw);
  seen.observe(canvas);
  return () => {
    seen.disconnect();
    model.off("change:values", changed);
    model.off("change:tiles", changed);
  };
}

export default { render };
