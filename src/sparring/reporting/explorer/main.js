// What is selected, and everything that follows from it: the mark on the map, the geometry, what is known of it.

const data = JSON.parse(document.getElementById("explorer-data").textContent);
const part = (name) => document.querySelector(`#explorer [data-part="${name}"]`);
const quantity = (name) => data.quantities.find((one) => one.name === name);
const isWell = data.structures.every(({ symbols }) => symbols.length === 1 && symbols[0] === "X");

const state = { selected: null, hovered: null, hidden: new Set() };
const chart = new Chart(part("map"), { hovered: (row) => hover(row), selected: (row) => select(row) });
const view = isWell ? null : new MoleculeView(part("molecule"), data.elements);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...children);
  return made;
}

// --- the map ----------------------------------------------------------------------------------------------------------

function choose(name, options, first, changed = draw) {
  part(name).replaceChildren(...options.map(([value, text]) => element("option", { value, textContent: text })));
  part(name).value = first;
  part(name).addEventListener("change", changed);
}

// A colour of a scale for a value from 0 to 1.
function scaled(share, scale = data.scale) {
  const place = share * (scale.length - 1), below = Math.min(Math.floor(place), scale.length - 2);
  const [a, b] = [scale[below], scale[below + 1]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return `#${a.map((start, i) => Math.round(start + (b[i] - start) * (place - below)).toString(16).padStart(2, "0")).join("")}`;
}

function painter() {
  const chosen = quantity(part("colour").value);
  if (!chosen) return { colour: (row) => group(row).colours[part("colour").value] };
  const axis = new Axis(chosen, visible(), 0, 1);
  const known = visible().map((row) => axis.place(row)).filter((place) => place !== null);
  const low = Math.min(...known), high = Math.max(...known);
  const colour = (row) => {
    const place = axis.place(row);
    return place === null ? "#d8dee4" : scaled(high > low ? (place - low) / (high - low) : 0.5);
  };
  const ends = known.length ? [low, high].map((place) => shown(+(chosen.logarithmic ? 10 ** place : place).toPrecision(3))) : ["–", "–"];
  return { colour, ends, label: chosen.label };
}

function group(row) {
  return data.groups[data.structures[row].group];
}

function visible() {
  return data.structures.map((_, row) => row).filter((row) => !state.hidden.has(data.structures[row].group));
}

function draw() {
  const [x, y] = [quantity(part("x").value), quantity(part("y").value)], paint = painter(), rows = visible();
  chart.draw({ rows, x, y, look: (row) => ({ marker: group(row).marker, colour: paint.colour(row) }) });
  emphasise();
  drawLegend(paint);
  const missing = rows.length - chart.points.size;
  const words = missing ? [`${missing} of ${rows.length} have no such value and are not on the map.`] : [];
  if (data.total > data.structures.length) words.push(`The page carries ${data.structures.length} of the run's ${data.total} structures, evenly spread.`);
  part("missing").textContent = words.join(" ");
}

function drawLegend(paint) {
  const counts = data.groups.map((_, i) => data.structures.filter((one) => one.group === i).length);
  const entries = data.groups.map((one, i) => {
    const mark = svg("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" });
    svg("path", { d: MARKS[one.marker] ?? MARKS.o, fill: paint.label ? "#8b949e" : one.colours[part("colour").value] }, mark);
    const button = element("button", { type: "button" }, mark, `${one.name} (${counts[i]})`);
    button.setAttribute("aria-pressed", String(!state.hidden.has(i)));
    button.addEventListener("click", () => {
      if (!state.hidden.delete(i)) state.hidden.add(i);
      draw();
      part("legend").querySelectorAll("button")[i].focus();
    });
    return button;
  });
  if (paint.label) {
    const bar = element("span", { className: "scale" });
    bar.style.background = `linear-gradient(to right, ${data.scale.join(", ")})`;
    entries.push(element("span", { className: "scale-line" }, paint.ends[0], bar, `${paint.ends[1]}  ${paint.label}`));
  }
  part("legend").replaceChildren(...entries);
}

// --- one structure ----------------------------------------------------------------------------------------------------

function select(row) {
  state.selected = row;
  chart.current = row;
  emphasise();
  show(row);
}

// Pointing at a mark looks at it, and lets go of it again.
function hover(row) {
  if (row === state.hovered) return;
  state.hovered = row;
  part("map").classList.toggle("pointing", row !== null);
  emphasise();
  show(row ?? state.selected);
}

function emphasise() {
  chart.emphasise(state.selected, state.hovered);
}

function show(row) {
  const structure = data.structures[row];
  part("title").textContent = `Structure ${structure.number}: ${group(row).name}`;
  if (view) {
    view.show(structure, reaches.get(structure.symbols.join(" ")), look(structure));
    drawAtomScale(structure);
    part("molecule").setAttribute("aria-label", `Structure ${structure.number}, ${structure.symbols.length} atoms. Arrow keys turn it.`);
  } else {
    const dimensions = quantity("y") ? 2 : 1;
    part("place").textContent = structure.positions.slice(0, dimensions).map((value, i) => `${"xy"[i]} = ${shown(value)} Å`).join("\n");
  }
  part("facts").replaceChildren(...facts(row).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

// --- its atoms --------------------------------------------------------------------------------------------------------

const inUnit = (value) => `${shown(value, 3)} eV/Å`;
const nameOf = (structure, i) => `${structure.symbols[i]}${i}`;

// The atom with the largest value.
function largest(values) {
  return values.indexOf(Math.max(...values));
}

// How the atoms look: by element, or by a quantity from zero to the largest value in the structure.
function look(structure) {
  const values = structure.atoms[part("atoms").value], high = values && Math.max(...values);
  const known = data.atomQuantities.filter(({ name }) => structure.atoms[name]);
  return {
    colours: values ? values.map((value) => scaled(high > 0 ? Math.round((32 * value) / high) / 32 : 0, data.atomScale)) : null,
    named: values && high > 0 ? largest(values) : null,
    words: (i) => [nameOf(structure, i), ...known.map(({ name, label }) => `${label}: ${inUnit(structure.atoms[name][i])}`)].join("\n"),
  };
}

function drawAtomScale(structure) {
  const chosen = data.atomQuantities.find(({ name }) => name === part("atoms").value), values = chosen && structure.atoms[chosen.name];
  part("atom-scale").toggleAttribute("hidden", !chosen);
  if (!chosen) return;
  if (!values) return part("atom-scale").replaceChildren(`${chosen.label}: not known for this structure`);
  const bar = element("span", { className: "scale" }), most = largest(values);
  bar.style.background = `linear-gradient(to right, ${data.atomScale.join(", ")})`;
  part("atom-scale").replaceChildren(
    element("span", { className: "scale-line" }, "0", bar, `${inUnit(values[most])} (${nameOf(structure, most)})`),
  );
}

function facts(row) {
  const structure = data.structures[row];
  const found = data.quantities.filter((one) => one.isFact && one.values[row] !== null).map((one) => measured(one, row));
  for (const { name, largest: words } of data.atomQuantities.filter((one) => one.largest && structure.atoms[one.name])) {
    const values = structure.atoms[name], most = largest(values);
    found.push([words, `${nameOf(structure, most)}, ${inUnit(values[most])}`]);
  }
  const pair = structure.symbols.length > 1 && structure.symbols.length < 500 && !structure.cell && closest(structure);
  if (pair) found.push(["closest atoms", `${pair.names} ${pair.distance.toFixed(2)} Å`]);
  if (structure.split) found.push([`split of committee ${data.committee}`, structure.split]);
  if (structure.parentNumber !== null) found.push(["seed", parentOf(structure)]);
  found.push(["file", unbroken(structure.file)], ["frame, from 0", String(structure.frame)]);
  return found;
}

// "energy above lowest (kcal/mol)" has its unit in the name; here it goes to the number.
function measured(one, row) {
  const [, name, unit] = one.label.match(/^(.*?)(?: \(([^()]*)\))?$/);
  const value = one.values[row];
  return [name, `${shown(value, Math.abs(value) < 1 ? 3 : 4)}${unit ? ` ${unit}` : ""}`];
}

// A path that may only break behind a slash.
function unbroken(path) {
  const parts = path.split(/(?<=\/)/).map((text) => element("span", { className: "whole", textContent: text }));
  return element("span", {}, ...parts.flatMap((one) => [one, element("wbr", {})]));
}

function parentOf(structure) {
  if (structure.parent === null) return `structure ${structure.parentNumber}`;
  const button = element("button", { type: "button", className: "link", textContent: `structure ${structure.parentNumber}` });
  button.addEventListener("click", () => select(structure.parent));
  return button;
}

// How far the atoms of most structures of a composition reach from their middle.
function usualReaches() {
  const found = new Map();
  for (const { symbols, positions } of data.structures) {
    const key = symbols.join(" ");
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(Math.max(0.8, ...vectors(positions).map((v) => Math.hypot(...v))));
  }
  for (const [key, reaches] of found) found.set(key, 1.2 * reaches.sort((a, b) => a - b)[Math.floor(reaches.length / 2)]);
  return found;
}

const reaches = usualReaches();
const names = data.quantities.map((one) => [one.name, one.label]);
choose("x", names, data.axes[0]);
choose("y", names, data.axes[1]);
choose("colour", [["generation", "generation"], ["source", "source"], ...names.filter(([name]) => !/^(umap\d|labelled_in)$/.test(name))], "generation");
choose("atoms", [["element", "element"], ...data.atomQuantities.map(({ name, label }) => [name, label])], "element", () => show(state.selected));
part("before").addEventListener("click", () => select((state.selected + data.structures.length - 1) % data.structures.length));
part("after").addEventListener("click", () => select((state.selected + 1) % data.structures.length));
part("again").addEventListener("click", () => view.reset());
for (const only of document.querySelectorAll(isWell ? ".for-molecules" : ".for-wells")) only.toggleAttribute("hidden", true);  // also of SVG
part("atoms-label").toggleAttribute("hidden", isWell || !data.atomQuantities.length);
draw();
const energies = quantity("energy").values;
select(energies.indexOf(Math.min(...energies)));
let width = part("map").clientWidth;
new ResizeObserver(() => {
  if (part("map").clientWidth === width) return;
  width = part("map").clientWidth;
  draw();
}).observe(part("map"));
