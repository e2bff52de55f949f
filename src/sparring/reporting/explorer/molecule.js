// A structure as balls and sticks in SVG, turned by mouse, finger or arrow keys. No WebGL: what is drawn is in the page.

const SVG = "http://www.w3.org/2000/svg";
// Atoms count as bonded up to so many times the sum of their covalent radii.
const BONDED = 1.3;
const FIRST_TURN = multiply(rotation("x", -0.95), rotation("z", 0.35));

function svg(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

function rotation(axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle);
  return { x: [[1, 0, 0], [0, c, -s], [0, s, c]], y: [[c, 0, s], [0, 1, 0], [-s, 0, c]], z: [[c, -s, 0], [s, c, 0], [0, 0, 1]] }[axis];
}

function multiply(a, b) {
  return a.map((row) => [0, 1, 2].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]));
}

function apply(matrix, v) {
  return matrix.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
}

function vectors(flat) {
  return Array.from({ length: flat.length / 3 }, (_, i) => flat.slice(3 * i, 3 * i + 3));
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

// Lighter (share > 0) or darker (share < 0) than a colour like #3050f8.
function shade(colour, share) {
  const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const mixed = parts.map((part) => Math.round(share > 0 ? part + (255 - part) * share : part * (1 + share)));
  return `rgb(${mixed.join(",")})`;
}

// The pair of atoms that are closest to each other, for those who look at distorted molecules.
function closest(structure) {
  const positions = vectors(structure.positions);
  let best = null;
  for (let i = 0; i < positions.length; i++) {
    for (let j = 0; j < i; j++) {
      const d = distance(positions[i], positions[j]);
      if (!best || d < best.distance) best = { distance: d, names: `${structure.symbols[j]}–${structure.symbols[i]}` };
    }
  }
  return best;
}

class MoleculeView {
  constructor(root, elements) {
    this.root = root;
    this.elements = elements;
    this.turn = FIRST_TURN;
    this.reach = 1;
    const shades = svg("defs", {}, root);
    for (const [symbol, { colour }] of Object.entries(elements)) {
      const ball = svg("radialGradient", { id: `ball-${symbol}`, cx: 0.36, cy: 0.32, r: 0.75 }, shades);
      svg("stop", { offset: 0, "stop-color": shade(colour, 0.75) }, ball);
      svg("stop", { offset: 0.45, "stop-color": colour }, ball);
      svg("stop", { offset: 1, "stop-color": shade(colour, -0.45) }, ball);
    }
    this.shades = shades;
    this.scene = svg("g", {}, root);
    this.listen();
  }

  // The gradient of a ball of any colour, flatter than those of elements: the colour is to be read.
  gradient(colour) {
    const id = `ball-${colour.slice(1)}`;
    if (!this.shades.querySelector(`#${id}`)) {
      const ball = svg("radialGradient", { id, cx: 0.36, cy: 0.32, r: 0.75 }, this.shades);
      svg("stop", { offset: 0, "stop-color": shade(colour, 0.35) }, ball);
      svg("stop", { offset: 0.4, "stop-color": colour }, ball);
      svg("stop", { offset: 1, "stop-color": shade(colour, -0.15) }, ball);
    }
    return id;
  }

  listen() {
    let last = null;
    this.root.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      this.root.setPointerCapture(event.pointerId);
    });
    this.root.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.rotate((event.clientX - last[0]) / 90, (event.clientY - last[1]) / 90);
      last = [event.clientX, event.clientY];
    });
    for (const ending of ["pointerup", "pointercancel"]) this.root.addEventListener(ending, () => { last = null; });
    this.root.addEventListener("dblclick", () => this.reset());
    this.root.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.rotate(...step);
    });
  }

  rotate(sideways, down) {
    this.turn = multiply(multiply(rotation("y", sideways), rotation("x", down)), this.turn);
    this.draw();
  }

  reset() {
    this.turn = FIRST_TURN;
    this.draw();
  }

  // All structures of a set are drawn to one scale, so that a long bond looks long; only a larger one is zoomed out.
  // look: colours of the atoms (null for those of elements), words for each atom, and which one bears its name.
  show(structure, reach, look) {
    this.structure = structure;
    this.look = look;
    this.reach = Math.max(reach, ...vectors(structure.positions).map((v) => Math.hypot(...v)));
    this.draw();
  }

  draw() {
    const { symbols, positions, cell } = this.structure;
    const width = 320, height = 260, scale = (height / 2 - 24) / this.reach;
    const project = (v) => {
      const [x, y, z] = apply(this.turn, v);
      const near = 1 / (1 - z / (8 * this.reach));  // a touch of perspective
      return { x: width / 2 + scale * near * x, y: height / 2 - scale * near * y, z, near };
    };
    const points = vectors(positions).map(project);
    const parts = [...this.sticks(symbols, vectors(positions), project, scale), ...this.balls(symbols, points, scale)];
    if (cell) parts.push(...this.edges(vectors(cell), project));
    if (this.look.named !== null) parts.push(this.name(this.look.named, points, scale));
    parts.sort((a, b) => a.depth - b.depth);
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.scene.replaceChildren(...parts.map((part) => part.element));
  }

  radius(symbol) {
    return 0.18 + 0.26 * this.elements[symbol].radius;
  }

  balls(symbols, points, scale) {
    return points.map(({ x, y, z, near }, i) => {
      const r = scale * near * this.radius(symbols[i]);
      const colour = this.look.colours && this.look.colours[i];
      const fill = colour ? this.gradient(colour) : `ball-${symbols[i]}`;
      const element = svg("circle", { class: colour ? "atom valued" : "atom", cx: x.toFixed(2), cy: y.toFixed(2), r: r.toFixed(2), fill: `url(#${fill})` });
      svg("title", {}, element).textContent = this.look.words(i);
      return { depth: z, element };
    });
  }

  // The name of an atom beside it, above everything else, and within the picture.
  name(i, points, scale) {
    const { x, y, near } = points[i], r = scale * near * this.radius(this.structure.symbols[i]);
    const right = x < 240;
    const element = svg("text", { class: "atom-name", x: (right ? x + r + 3 : x - r - 3).toFixed(2), y: (y + 4).toFixed(2), "text-anchor": right ? "start" : "end" });
    element.textContent = `${this.structure.symbols[i]}${i}`;
    return { depth: Infinity, element };
  }

  // Each stick is two halves in the colours of their atoms, sorted by depth like everything else.
  sticks(symbols, positions, project, scale) {
    const halves = [];
    for (let i = 0; i < positions.length; i++) {
      for (let j = 0; j < i; j++) {
        const reach = BONDED * (this.elements[symbols[i]].radius + this.elements[symbols[j]].radius);
        if (distance(positions[i], positions[j]) > reach) continue;
        for (const [one, other] of [[i, j], [j, i]]) halves.push(this.half(symbols, positions, one, other, project, scale));
      }
    }
    return halves;
  }

  // From the surface of one atom to the middle of the bond.
  half(symbols, positions, one, other, project, scale) {
    const colour = this.look.colours ? "#b4bcc4" : this.elements[symbols[one]].colour;
    const share = Math.min(0.5, (0.9 * this.radius(symbols[one])) / distance(positions[one], positions[other]));
    const at = (part) => project(positions[one].map((value, n) => value + part * (positions[other][n] - value)));
    const [from, to] = [at(share), at(0.5)];
    const line = { x1: from.x.toFixed(2), y1: from.y.toFixed(2), x2: to.x.toFixed(2), y2: to.y.toFixed(2) };
    const element = svg("g", { class: "bond" });
    const width = 0.19 * scale * to.near;
    svg("line", { ...line, stroke: shade(colour, -0.4), "stroke-width": width.toFixed(2) }, element);
    svg("line", { ...line, stroke: shade(colour, -0.12), "stroke-width": (0.8 * width).toFixed(2) }, element);
    svg("line", { ...line, stroke: shade(colour, 0.3), "stroke-width": (0.3 * width).toFixed(2) }, element);
    return { depth: (from.z + to.z) / 2, element };
  }

  edges([a, b, c], project) {
    const corner = (i, j, k) => [0, 1, 2].map((n) => (i - 0.5) * a[n] + (j - 0.5) * b[n] + (k - 0.5) * c[n]);
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [n & 1, (n >> 1) & 1, n >> 2]);
    const lines = [];
    for (const from of corners) {
      for (const axis of [0, 1, 2]) {
        if (from[axis]) continue;
        const to = from.map((place, n) => (n === axis ? 1 : place)), [p, q] = [project(corner(...from)), project(corner(...to))];
        const element = svg("line", { class: "cell", x1: p.x.toFixed(2), y1: p.y.toFixed(2), x2: q.x.toFixed(2), y2: q.y.toFixed(2) });
        lines.push({ depth: (p.z + q.z) / 2, element });
      }
    }
    return lines;
  }
}
