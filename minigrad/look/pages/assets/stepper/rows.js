// The list at the left: a row per leaf, op and group, with its gradient so far, and the edges between them.

const rows = new Map(); // key -> {button, chip, parents, group, rows}

function makeRows(tree, parents, depth) {
  for (const item of tree) {
    const key =
      item.group !== undefined ? `group-${rows.size}` : item.leaf !== undefined ? `leaf-${item.leaf}` : `op-${item.op}`;
    const what = tag("span.what");
    const chip = tag("span.chip");
    const button = element(
      "button",
      { class: "row", style: `--depth: ${depth}`, id: `row-${key}`, tabindex: -1, onclick: () => pressed(key) },
      what,
      chip,
    );
    rows.set(key, {
      key,
      button,
      chip,
      parents,
      group: item.group !== undefined ? item : null,
      ops: item.rows ? opsOf(item) : [],
    });
    if (item.group !== undefined) {
      button.classList.add("group");
      what.append(
        element("span", { class: "fold", "aria-hidden": "true" }),
        tag("b", shortName(item.group, parents)),
        ` ${item.type} · ${plural(opsOf(item).length, "op")}`,
      );
    } else if (item.leaf !== undefined) {
      const tensor = data.tensors[item.leaf];
      button.classList.add("leaf");
      what.append(tag("span.name", shortName(tensor.label, parents)), " ", tag("span.shape", valueText(tensor)));
      button.title = `${tensor.label}, ${tensor.kind}`;
    } else {
      const op = data.ops[item.op];
      const tensor = data.tensors[op.output];
      what.append(tag("span.op", op.op), tensor.named ? " " : tag("span.shape", `_${item.op} `));
      if (tensor.named) what.append(tag("span.name", tensor.label), " ");
      else if (tensor.shown !== tensor.label) what.append(tag("span.name", tensor.shown), " ");
      what.append(tag("span.shape", valueText(tensor)));
      button.title = op.source ? `${op.source.file}:${op.source.line}  ${op.source.text}` : op.op;
    }
    byId("rows").append(button);
    if (item.rows) makeRows(item.rows, [...parents, key], depth + 1);
  }
}

// A path without what the group around it says already.
function shortName(path, parents) {
  const around = parents.length ? `${rows.get(parents.at(-1)).group.group}.` : "";
  return around && path.startsWith(around) ? path.slice(around.length) : path;
}

function opsOf(item) {
  return item.rows.flatMap((row) => (row.rows ? opsOf(row) : row.op === undefined ? [] : [row.op]));
}

function valueText(tensor) {
  const summary = data.pool[tensor.value];
  return summary.data && summary.data.length === 1 ? `= ${format(summary.data[0])}` : shapeOf(summary);
}

// A group is open by its user's choice; else if it is not folded by default, or the step is in it.
function isOpen(key) {
  if (key in state.open) return state.open[key];
  return !rows.get(key).group.fold || activeParents().has(key);
}

function activeParents() {
  const step = current();
  const found = new Set(step ? rows.get(`op-${step.op}`).parents : []);
  if (state.selected) for (const parent of rows.get(state.selected).parents) found.add(parent);
  return found;
}

function drawRows() {
  const step = current();
  const active = step ? `op-${step.op}` : null;
  const fed = new Set(step ? step.grads.filter(Boolean).map((g) => keyOfTensor(g.tensor)) : []);
  for (const row of rows.values()) {
    row.hidden = row.parents.some((parent) => !isOpen(parent));
    row.button.hidden = row.hidden;
    row.button.style.display = row.hidden ? "none" : "";
    row.button.classList.toggle("selected", row.key === state.selected);
    row.button.classList.toggle("stop", state.stops.has(row.key));
    if (row.group) {
      const open = isOpen(row.key);
      row.button.setAttribute("aria-expanded", String(open));
      row.button.querySelector(".fold").textContent = open ? "▾ " : "▸ ";
      row.button.classList.toggle("active", !open && active !== null && rows.get(active).parents.includes(row.key));
      const done = row.ops.filter((op) => (stepOfOp.get(op) ?? Infinity) <= state.step).length;
      const size = sizeOfGroup(row);
      const said = open ? "" : done ? `${done} of ${row.ops.length} steps` : last ? NO_VALUE : "";
      row.chip.replaceChildren(said, size === null || state.hunt ? "" : sizeBar(size));
      continue;
    }
    row.button.classList.toggle("active", row.key === active);
    row.button.classList.toggle("fed", fed.has(row.key));
    if (row.key === active) row.button.setAttribute("aria-current", "step");
    else row.button.removeAttribute("aria-current");
    if (last && !state.hunt) drawChip(row);
    else row.chip.replaceChildren();
  }
  drawStop();
  const parting = chosenBug()?.parts; // the first wrong step: marked in the list, or at the folded group it is in
  const wrong = parting ? `op-${data.steps[parting - 1].op}` : null;
  const marked = wrong && visible(wrong);
  for (const row of rows.values()) row.button.classList.toggle("parts", row.key === marked);
  drawEdges(active, fed);
}

// For the keyboard the list is one stop: the selected row, or that of the step, or the first.
function drawStop() {
  const active = current() ? visible(`op-${current().op}`) : null;
  const stop = [state.selected, active].find((key) => key && !rows.get(key).hidden) ?? [...rows.keys()].find((key) => !rows.get(key).hidden);
  for (const row of rows.values()) row.button.tabIndex = row.key === stop ? 0 : -1;
}

function tensorOfRow(key) {
  const [kind, id] = key.split("-");
  return kind === "op" ? data.ops[id].output : kind === "leaf" ? Number(id) : null;
}

function drawChip(row) {
  const gradient = gradientOf(tensorOfRow(row.key));
  row.chip.classList.toggle("partial", Boolean(gradient && gradient.waiting));
  if (!gradient) {
    row.chip.replaceChildren(NO_VALUE);
    return;
  }
  const { summary, waiting } = gradient;
  const more = waiting ? ` +${waiting} to come` : "";
  if (summary.data && summary.data.length === 1) {
    const bad = typeof summary.data[0] === "string";
    row.chip.replaceChildren("grad ", tag(bad ? "span.number bad" : "span.number", format(summary.data[0])), sizeBar(sizeOf(summary)), more);
    return;
  }
  const strip = element("span", { class: "strip", "aria-hidden": "true" });
  const flat = rowsOf(summary).flat();
  const sizes = flat.map((value) => (typeof value === "number" ? Math.abs(value) : Infinity));
  const from = Math.max(0, Math.min(flat.length - 8, sizes.indexOf(Math.max(...sizes)) - 3)); // where it is largest
  const part = flat.slice(from, from + 8);
  const scale = Math.max(...part.map((value) => Math.abs(value) || 0));
  for (const value of part)
    strip.append(element("i", typeof value === "string" ? { class: "bad" } : { style: `background: ${colour(value, scale)}` }));
  const count = summary.shape.reduce((product, size) => product * size, 1);
  const norm = summary.nonfinite
    ? tag("span.bad", `${summary.nonfinite.toLocaleString("en")} of ${count.toLocaleString("en")} not finite`)
    : element("span", { title: "the norm of the gradient" }, `‖grad‖ ${format(summary.norm)}`);
  row.chip.replaceChildren(norm, strip, sizeBar(sizeOf(summary)), more);
}

// The size of a gradient as a bar on a log scale; all bars share one scale, from the smallest to the largest.
const sizeOf = (summary) => (summary.nonfinite ? Infinity : summary.norm ?? 0);
const sizes = [...arrivals.values()].map((come) => sizeOf(data.pool[come.at(-1).grad.after])).filter((n) => n > 0 && n < Infinity);
const largestSize = Math.log10(Math.max(...sizes, 1e-300));
const smallest = Math.max(largestSize - 8, Math.log10(Math.min(...sizes, 1)));
const decades = Math.max(1, largestSize - smallest);

function sizeBar(size) {
  const share = size === Infinity ? 1 : size > 0 ? (Math.log10(size) - smallest) / decades : 0;
  const width = size > 0 ? Math.max(4, Math.min(100, 8 + 92 * share)) : 0;
  const title = `the size of the gradient, ${size === Infinity ? "not finite" : format(size)}, on a log scale`;
  return element("span", { class: size === Infinity ? "size bad" : "size", title, "aria-hidden": "true" }, element("i", { style: `width: ${width.toFixed(0)}%` }));
}

// The size of the gradients in a group so far: of its leaves, or of its results where it has none.
function sizeOfGroup(row) {
  if (!row.tensors) {
    const leaves = [...rows.values()].filter((other) => other.key.startsWith("leaf-") && other.parents.includes(row.key));
    row.tensors = leaves.length ? leaves.map((leaf) => tensorOfRow(leaf.key)) : row.ops.map((op) => data.ops[op].output);
  }
  const found = row.tensors
    .map((t) => gradientOf(t))
    .filter(Boolean)
    .map((g) => sizeOf(g.summary));
  return found.length ? Math.hypot(...found) : null;
}

// Edges from what made a tensor to what uses it, as arcs in the gutter; folded rows stand in for what they hold.
const links = [];
function makeLinks() {
  for (const [id, op] of Object.entries(data.ops)) {
    for (const input of op.inputs) {
      if (input.tensor !== undefined && rows.has(keyOfTensor(input.tensor)))
        links.push([keyOfTensor(input.tensor), `op-${id}`]);
    }
  }
}

function visible(key) {
  const row = rows.get(key);
  return row.hidden ? row.parents.find((parent) => !isOpen(parent)) : key;
}

function drawEdges(active, fed) {
  const svg = byId("edges");
  const box = byId("rows");
  svg.setAttribute("width", 80);
  svg.setAttribute("height", box.offsetHeight + 20);
  const right = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--gutter")) || 64;
  const middle = new Map();
  let place = 0;
  for (const row of rows.values()) {
    if (!row.hidden) middle.set(row.key, { y: row.button.offsetTop + row.button.offsetHeight / 2, place: place++ });
  }
  const drawn = new Map();
  for (const [from, to] of links) {
    const [a, b] = [visible(from), visible(to)];
    if (a === b) continue;
    const lit = to === active && fed.has(from);
    drawn.set(`${a} ${b}`, { a, b, lit: lit || drawn.get(`${a} ${b}`)?.lit });
  }
  const paths = [];
  for (const { a, b, lit } of [...drawn.values()].sort((x, y) => Number(x.lit ?? 0) - Number(y.lit ?? 0))) {
    const [top, bottom] = [middle.get(a), middle.get(b)];
    const bulge = Math.min(right - 6, 6 + 9 * Math.log2(1 + Math.abs(bottom.place - top.place)));
    const x = right - 2;
    paths.push(
      svgPath(
        lit ? "lit" : "",
        `M ${x} ${bottom.y} C ${x - bulge * 1.3} ${bottom.y}, ${x - bulge * 1.3} ${top.y}, ${x} ${top.y}`,
      ),
    );
    if (lit) paths.push(svgPath("tip", `M ${x + 4} ${top.y} l -8 -4.5 l 0 9 z`));
  }
  svg.replaceChildren(...paths);
}

function svgPath(kind, d) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("class", kind);
  path.setAttribute("d", d);
  return path;
}

