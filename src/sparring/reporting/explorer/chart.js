// The map: a mark for every structure, on any two of the quantities. It knows nothing of what the marks stand for.

const MARGIN = { left: 62, right: 14, top: 12, bottom: 44 };
// How near to a mark, in pixels, a pointer has to be.
const NEAR = 26;

// Marks by the letters that Matplotlib has for them, drawn about (0, 0).
const MARKS = {
  o: "M-4.2,0a4.2,4.2 0 1,0 8.4,0a4.2,4.2 0 1,0 -8.4,0z",
  s: "M-3.8,-3.8h7.6v7.6h-7.6z",
  D: "M0,-5.2L5.2,0L0,5.2L-5.2,0z",
  "^": "M0,-5.2L5,3.8H-5z",
  v: "M0,5.2L5,-3.8H-5z",
  P: "M-1.7,-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
  "*": "M0,-8.5L2,-2.75L8.1,-2.63L3.23,1.05L5,6.88L0,3.4L-5,6.88L-3.23,1.05L-8.1,-2.63L-2,-2.75z",
};

function ticks(low, high, n) {
  const rough = (high - low) / n, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function logarithmicTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const digit of high - low > 2.5 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 5]) {
      const place = power + Math.log10(digit);
      if (place >= low && place <= high) found.push(place);
    }
  }
  return found;
}

function shown(value, digits = 4) {
  if (value === null) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(digits));
  return text.replace("-", "−");
}

// From a quantity to pixels; what has no place on it gives null.
class Axis {
  constructor(quantity, rows, from, to) {
    this.quantity = quantity;
    this.from = from;
    this.to = to;
    const places = rows.map((row) => this.place(row)).filter((place) => place !== null);
    const low = Math.min(...places), high = Math.max(...places);
    const margin = 0.05 * (high - low) || 0.5;
    this.low = places.length ? low - margin : 0;
    this.high = places.length ? high + margin : 1;
  }

  place(row) {
    const value = this.quantity.values[row];
    if (value === null) return null;
    if (!this.quantity.logarithmic) return value;
    return value > 0 ? Math.log10(value) : null;
  }

  pixel(place) {
    return this.from + ((place - this.low) / (this.high - this.low)) * (this.to - this.from);
  }

  ticks() {
    const n = Math.max(4, Math.abs(this.to - this.from) / 75);
    const places = this.quantity.logarithmic ? logarithmicTicks(this.low, this.high) : ticks(this.low, this.high, n);
    return places.map((place) => ({ pixel: this.pixel(place), text: shown(this.quantity.logarithmic ? +(10 ** place).toPrecision(3) : place) }));
  }
}

class Chart {
  constructor(root, { hovered, selected }) {
    this.root = root;
    this.frame = svg("g", { class: "frame" }, root);
    this.marks = svg("g", { class: "marks" }, root);
    this.above = svg("g", { class: "above" }, root);
    this.hovered = hovered;
    this.selected = selected;
    root.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") hovered(this.nearest(event)); });
    root.addEventListener("pointerleave", () => hovered(null));
    root.addEventListener("click", (event) => {
      const row = this.nearest(event);
      if (row !== null) selected(row);
    });
    root.addEventListener("keydown", (event) => this.step(event));
  }

  // rows: which to draw, later ones above; look(row) gives a mark and its colour.
  draw({ rows, x, y, look }) {
    const width = Math.max(280, this.root.clientWidth), height = Math.round(Math.min(460, Math.max(300, 0.72 * width)));
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.style.height = `${height}px`;
    this.x = new Axis(x, rows, MARGIN.left, width - MARGIN.right);
    this.y = new Axis(y, rows, height - MARGIN.bottom, MARGIN.top);
    if (x.plane && x.plane === y.plane) this.equalise();
    this.drawFrame(width, height);
    this.points = new Map();
    const drawn = [];
    for (const row of rows) {
      const [px, py] = [this.x.place(row), this.y.place(row)];
      if (px === null || py === null) continue;
      const point = { x: this.x.pixel(px), y: this.y.pixel(py), ...look(row) };
      this.points.set(row, point);
      const transform = `translate(${point.x.toFixed(1)},${point.y.toFixed(1)})`;
      drawn.push(svg("path", { "data-row": row, d: MARKS[point.marker] ?? MARKS.o, fill: point.colour, transform }));
    }
    this.marks.replaceChildren(...drawn);
  }

  // One scale for both axes: the one that would be magnified more gets more room.
  equalise() {
    const [across, up] = [this.x, this.y].map((axis) => Math.abs(axis.to - axis.from) / (axis.high - axis.low));
    const [wide, factor] = across > up ? [this.x, across / up] : [this.y, up / across];
    const middle = (wide.low + wide.high) / 2, half = (factor * (wide.high - wide.low)) / 2;
    [wide.low, wide.high] = [middle - half, middle + half];
  }

  drawFrame(width, height) {
    const bottom = height - MARGIN.bottom, right = width - MARGIN.right;
    this.frame.replaceChildren();
    for (const { pixel, text } of this.x.ticks()) {
      svg("line", { x1: pixel, x2: pixel, y1: MARGIN.top, y2: bottom }, this.frame);
      svg("text", { x: pixel, y: bottom + 17, "text-anchor": "middle" }, this.frame).textContent = text;
    }
    for (const { pixel, text } of this.y.ticks()) {
      svg("line", { x1: MARGIN.left, x2: right, y1: pixel, y2: pixel }, this.frame);
      svg("text", { x: MARGIN.left - 7, y: pixel + 4, "text-anchor": "end" }, this.frame).textContent = text;
    }
    svg("path", { class: "axes", d: `M${MARGIN.left},${MARGIN.top}V${bottom}H${right}` }, this.frame);
    const middle = (MARGIN.top + bottom) / 2;
    svg("text", { class: "name", x: (MARGIN.left + right) / 2, y: height - 8, "text-anchor": "middle" }, this.frame).textContent = this.x.quantity.label;
    svg("text", { class: "name", x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, this.frame).textContent = this.y.quantity.label;
  }

  // The selected structure in a ring, the one under the pointer larger, both above all others.
  emphasise(selected, hovered) {
    this.above.replaceChildren();
    for (const [row, name, size] of [[selected, "selected", 1.35], [hovered, "hovered", 1.6]]) {
      const point = this.points.get(row);
      if (!point) continue;
      const group = svg("g", { class: name, transform: `translate(${point.x.toFixed(1)},${point.y.toFixed(1)})` }, this.above);
      if (name === "selected") svg("circle", { r: 11 }, group);
      svg("path", { d: MARKS[point.marker] ?? MARKS.o, fill: point.colour, transform: `scale(${size})` }, group);
    }
  }

  nearest(event) {
    const box = this.root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null, least = NEAR;
    for (const [row, point] of this.points) {
      const d = Math.hypot(point.x - x, point.y - y);
      if (d <= least) [best, least] = [row, d];
    }
    return best;
  }

  // Arrow keys go from mark to mark: to the sides along one axis, up and down along the other.
  step(event) {
    const [axis, way] = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowUp: ["y", -1], ArrowDown: ["y", 1] }[event.key] ?? [];
    if (!axis || !this.points.size) return;
    event.preventDefault();
    const order = [...this.points].sort((a, b) => a[1][axis] - b[1][axis] || a[0] - b[0]).map(([row]) => row);
    const place = order.indexOf(this.current ?? order[0]);
    this.selected(order[Math.min(order.length - 1, Math.max(0, place + way))]);
  }
}
