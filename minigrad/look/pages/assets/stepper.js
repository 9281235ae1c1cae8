// The stepper: one state (step, selection, folds, breakpoints, tab), and functions that draw it.
const data = readData();
const byId = (id) => document.getElementById(id);
const last = data.steps.length;
const NO_VALUE = "not yet computed";
const state = {
  step: 0,
  selected: null,
  tab: "step",
  open: {},
  stops: new Set(),
  timer: null,
  bug: "",
  element: 0,
  slices: {},
};

// Which tensors a step has brought a gradient to: for each tensor the steps that add to it, in order.
const arrivals = new Map();
data.steps.forEach((step, i) => {
  for (const grad of step.grads) {
    if (!grad) continue;
    if (!arrivals.has(grad.tensor)) arrivals.set(grad.tensor, []);
    arrivals.get(grad.tensor).push({ step: i + 1, grad });
  }
});
const stepOfOp = new Map(data.steps.map((step, i) => [step.op, i + 1]));

// The gradient of a tensor after so many steps: {summary, waiting}, or null as long as nothing has arrived.
function gradientOf(tensor, step = state.step) {
  const come = (arrivals.get(tensor) ?? []).filter((a) => a.step <= step);
  if (come.length) return { summary: data.pool[come.at(-1).grad.after], waiting: come.at(-1).grad.waiting };
  return tensor === data.root ? { summary: data.pool[data.start], waiting: 0 } : null;
}

const tensorLabel = (id) => data.tensors[id].label;
const valueOf = (id) => data.pool[data.tensors[id].value];
const opAt = (step) => data.ops[data.steps[step - 1].op];
const tag = (name, ...children) => element(name.split(".")[0], { class: name.split(".")[1] }, ...children); // "p.note"
const quiet = (text) => tag("span.quiet", text);
const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
const current = () => (state.step ? data.steps[state.step - 1] : null);
const keyOfTensor = (id) => (data.tensors[id].made_by === null ? `leaf-${id}` : `op-${data.tensors[id].made_by}`);

function inWhich(module) {
  return module ? ` in ${module}` : "";
}

function listing(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

// One sentence for a step, as it is read out.
function sentence() {
  const step = current();
  const loss = `${tensorLabel(data.root)} is ${oneNumber(valueOf(data.root))}`;
  if (!step) return `Before the first of ${last} steps: the forward pass is done, ${loss}.`;
  const op = data.ops[step.op];
  const inside = (label) =>
    op.module && label.startsWith(`${op.module}.`) ? label.slice(op.module.length + 1) : label;
  const to = [...new Set(step.grads.filter(Boolean).map((g) => inside(tensorLabel(g.tensor))))];
  const sends = to.length ? `sends gradients to ${listing(to)}` : "sends no gradient on";
  const stop = stopsAt(state.step) ? " (breakpoint)" : "";
  return `Step ${state.step} of ${last}${stop}: ${op.op}${inWhich(op.module)} ${sends}`;
}

function oneNumber(summary) {
  return summary.data && summary.data.length === 1 ? format(summary.data[0]) : `an array ${shapeOf(summary)}`;
}

// The list at the left: rows are made once, and only their classes and chips change.
const rows = new Map(); // key -> {button, chip, parents, group, rows}

function makeRows(tree, parents, depth) {
  for (const item of tree) {
    const key =
      item.group !== undefined ? `group-${rows.size}` : item.leaf !== undefined ? `leaf-${item.leaf}` : `op-${item.op}`;
    const what = tag("span.what");
    const chip = tag("span.chip");
    const button = element(
      "button",
      { class: "row", style: `--depth: ${depth}`, id: `row-${key}`, onclick: () => pressed(key) },
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
      row.chip.textContent = open ? "" : done ? `${done} of ${row.ops.length} steps` : NO_VALUE;
      continue;
    }
    row.button.classList.toggle("active", row.key === active);
    row.button.classList.toggle("fed", fed.has(row.key));
    if (row.key === active) row.button.setAttribute("aria-current", "step");
    else row.button.removeAttribute("aria-current");
    drawChip(row);
  }
  const parting = chosenBug()?.parts; // the first wrong step: marked in the list, or at the folded group it is in
  const wrong = parting ? `op-${data.steps[parting - 1].op}` : null;
  const marked = wrong && visible(wrong);
  for (const row of rows.values()) row.button.classList.toggle("parts", row.key === marked);
  drawEdges(active, fed);
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
    row.chip.replaceChildren("grad ", tag("span.number", format(summary.data[0])), more);
    return;
  }
  const strip = element("span", { class: "strip", "aria-hidden": "true" });
  const first = rowsOf(summary).flat().slice(0, 8);
  const scale = Math.max(...first.map((value) => Math.abs(value) || 0));
  for (const value of first) strip.append(element("i", { style: `background: ${colour(value, scale)}` }));
  row.chip.replaceChildren(
    element("span", { title: "the norm of the gradient" }, `‖grad‖ ${format(summary.norm)}`),
    strip,
    more,
  );
}

function scaleOf(...summaries) {
  return Math.max(0, ...summaries.flatMap((s) => (s ? [Math.abs(s.min ?? 0), Math.abs(s.max ?? 0)] : [])));
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

// Formulas: trees made in Python, as MathML elements.
function math(tree) {
  const [tag, ...children] = tree;
  const made = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag);
  for (const child of children) {
    if (typeof child === "string") made.append(child);
    else if (Array.isArray(child)) made.append(math(child));
    else for (const [name, value] of Object.entries(child)) made.setAttribute(name, value);
  }
  return made;
}

// A formula line as MathML elements that may stand on lines of their own: z = a value, | a = softmax(s), | ...
function mathLine(tree) {
  const [, attributes, body] = tree;
  const pieces = [[]];
  for (const part of body[0] === "mrow" ? body.slice(1) : [body]) {
    if (pieces.at(-1).length || part[0] !== "mspace") pieces.at(-1).push(part);
    if (part[0] === "mo" && part[1].separator) pieces.push([]);
  }
  return tag("span.formula", ...pieces.map((piece) => math(["math", attributes, ["mrow", ...piece]])));
}

// Arrays: a number, a table, or the corner of a large one with its statistics.
const WINDOW = { rows: 12, columns: 10 };

function array(caption, summary, scale = summary ? (summary.shape.length ? 1 : 2) * scaleOf(summary) : 0) {
  const box = tag(
    "figure",
    tag("figcaption", caption, summary && summary.shape.length ? tag("span", ` ${shapeOf(summary)}`) : null),
  );
  if (!summary) box.append(quiet(NO_VALUE));
  else if (summary.data && summary.data.length === 1 && !summary.shape.length)
    box.append(
      element(
        "span",
        { class: "big", style: `background: ${colour(summary.data[0], scale)}` },
        format(summary.data[0]),
      ),
    );
  else if (!summary.data && !summary.corner) box.append(quiet("values not recorded"));
  else if (summary.data) box.append(...whole(summary, scale));
  else
    box.append(tag("div.frame", table(summary.corner.slice(0, state.tall ? 8 : 4), scale, 0, 0)), statistics(summary));
  return box;
}

// A table of numbers with the index of each row and column; axes of more than two are chosen by their leading index.
function table(values, scale, firstRow, firstColumn) {
  const single = values.length === 1;
  const head = tag(
    "tr",
    single ? null : element("th"),
    ...(values[0] ?? []).map((_, j) => element("th", { scope: "col" }, String(firstColumn + j))),
  );
  const body = values.map((row, i) =>
    tag(
      "tr",
      single ? null : element("th", { scope: "row" }, String(firstRow + i)),
      ...row.map((value) =>
        element(
          "td",
          { style: `background: ${colour(value, scale)}`, class: typeof value === "string" ? "bad" : null },
          format(value),
        ),
      ),
    ),
  );
  return tag("table.numbers", tag("thead", head), tag("tbody", ...body));
}

function whole(summary, scale) {
  const shape = summary.shape.length > 1 ? summary.shape : [1, ...(summary.shape.length ? summary.shape : [1])];
  const [height, width] = shape.slice(-2);
  const leading = shape.slice(0, -2);
  if (!summary.data.length) return [quiet("empty")];
  const key = shape.join("x");
  state.slices[key] ??= { lead: leading.map(() => 0), row: 0, column: 0 };
  const slice = state.slices[key];
  const offset = leading.reduce((sum, size, axis) => sum * size + slice.lead[axis], 0) * height * width;
  const values = [];
  for (let i = slice.row; i < Math.min(height, slice.row + WINDOW.rows); i++) {
    const start = offset + i * width + slice.column;
    values.push(summary.data.slice(start, start + Math.min(WINDOW.columns, width - slice.column)));
  }
  const controls = leading.map((size, axis) =>
    number(`axis ${axis}`, slice.lead[axis], size - 1, (v) => (slice.lead[axis] = v)),
  );
  if (height > WINDOW.rows)
    controls.push(number(`of ${height} rows, from`, slice.row, height - WINDOW.rows, (v) => (slice.row = v)));
  if (width > WINDOW.columns)
    controls.push(number(`of ${width} columns, from`, slice.column, width - WINDOW.columns, (v) => (slice.column = v)));
  const parts = [tag("div.frame", table(values, scale, slice.row, slice.column))];
  if (controls.length) parts.unshift(tag("div.zoom", ...controls));
  return parts;
}

let zooms = 0; // how many inputs and buttons of arrays the panel has so far

function number(label, value, max, set) {
  const input = element("input", {
    type: "number",
    min: 0,
    max,
    value,
    id: `zoom-${zooms++}`,
    "aria-label": label,
    onchange: (event) => {
      set(Math.max(0, Math.min(max, Math.round(Number(event.target.value)) || 0)));
      drawPanel();
    },
  });
  return tag("label", label, " ", input);
}

function statistics(summary) {
  const tallest = Math.max(...(summary.histogram ?? [0]));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 28");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "histogram from min to max");
  (summary.histogram ?? []).forEach((count, i) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = count ? Math.max(1, (27 * count) / tallest) : 0;
    for (const [name, value] of Object.entries({ x: i * 5, y: 28 - height, width: 4.4, height }))
      bar.setAttribute(name, value);
    svg.append(bar);
  });
  const nonfinite = summary.nonfinite ? tag("span.bad", `${summary.nonfinite} not finite`) : null;
  const toggle = () => {
    state.tall = !state.tall;
    drawPanel();
  };
  const more = element("button", { id: `zoom-${zooms++}`, onclick: toggle }, state.tall ? "fewer rows" : "more rows");
  const named = ["min", "mean", "max", "norm"].map((name) => tag("span", `${name} ${format(summary[name] ?? "none")}`));
  return tag("div.stats", more, tag("span", "the first of each axis · of all:"), svg, ...named, nonfinite);
}

function source(record) {
  if (!record) return tag("p.quiet", "The line is not known.");
  return tag(
    "div.source",
    tag("div.quiet", `${record.file}:${record.line} in ${record.function}`),
    tag("pre", tag("code", record.text)),
  );
}

function formulas(op, used) {
  return tag(
    "div.formulas",
    ...op.formulas.map((tree, i) => element("div", { class: used.has(i) ? "used" : null }, mathLine(tree))),
  );
}

function figures(...parts) {
  return tag("div.figures", ...parts);
}

function sign(text) {
  return element("span", { class: "sign", "aria-hidden": "true" }, text);
}

// The panel at the right; what had the focus in it keeps it.
function drawPanel() {
  const focused = byId("panel").contains(document.activeElement) ? document.activeElement.id : "";
  for (const name of ["step", "node", "paths", "bugs"]) {
    const on = state.tab === name;
    byId(`tab-${name}`).setAttribute("aria-selected", String(on));
    byId(`tab-${name}`).tabIndex = on ? 0 : -1;
  }
  zooms = 0;
  byId("panel").setAttribute("aria-labelledby", `tab-${state.tab}`);
  byId("panel").replaceChildren(
    ...{ step: stepPanel, node: nodePanel, paths: pathsPanel, bugs: bugsPanel }[state.tab]().filter(Boolean),
  );
  if (focused) byId(focused)?.focus();
}

function stepPanel() {
  const step = current();
  if (!step) {
    const root = data.tensors[data.root];
    return [
      tag("h2", "Before the first step"),
      source(data.source),
      tag("p", "The forward pass is done: every value is there, no gradient is. The first step starts from this one:"),
      figures(
        array(`${root.label}, the value`, data.pool[root.value]),
        array(`gradient of ${root.label} by itself`, data.pool[data.start]),
      ),
      tag("p.quiet", "Press → for the first step, ? for all keys."),
    ];
  }
  const op = data.ops[step.op];
  const used = new Set(step.grads.map((g, i) => (g ? op.lines[i] : null)).filter((i) => i !== null && i !== undefined));
  return [
    tag("h2", `${op.op}${inWhich(op.module)}`, op.type ? quiet(` ${op.type}`) : null),
    source(op.source),
    formulas(op, used),
    constantsOf(op),
    figures(array(`dz, the gradient of ${tensorLabel(op.output)}, arrives`, data.pool[step.dz])),
    ...step.grads.map((grad, i) => (grad ? inputSection(op, step, grad, i) : null)),
    savedSection(op),
    forwardSection(op),
  ];
}

function count(tensor) {
  return valueOf(tensor)
    .shape.reduce((product, size) => product * size, 1)
    .toLocaleString("en");
}

function constantsOf(op) {
  const entries = Object.entries(op.constants);
  return entries.length
    ? tag("p.quiet", "with ", tag("code", entries.map(([name, value]) => `${name}=${value}`).join(", ")))
    : null;
}

function inputSection(op, step, grad, i) {
  const label = tensorLabel(grad.tensor);
  const name = op.names[i];
  const scale = scaleOf(data.pool[grad.before], data.pool[grad.after], data.pool[grad.contribution]);
  const status = grad.waiting
    ? tag("span.awaited", `${plural(grad.waiting, "more contribution")} awaited`)
    : tag("span.complete", "complete");
  const made = [];
  if (grad.local?.kind === "elementwise") {
    made.push(array(`local derivative ∂z/∂${name}, per element`, data.pool[grad.local.value]), sign("⊙ dz ="));
  } else if (grad.local?.kind === "matrix") {
    made.push(
      array(
        `local derivatives ∂z/∂${name}: a row per element of z, a column per element of ${name}`,
        data.pool[grad.local.value],
      ),
      sign("→"),
    );
  } else if (op.lines[i] !== null && op.lines[i] !== undefined) {
    made.push(
      tag(
        "figure",
        tag(
          "figcaption",
          `local derivatives: ${count(op.output)} × ${count(grad.tensor)} of them, never written out; instead:`,
        ),
        mathLine(op.formulas[op.lines[i]]),
      ),
      sign("→"),
    );
  }
  made.push(array(`contribution to ${label}`, data.pool[grad.contribution], scale));
  const leaf = data.tensors[grad.tensor].made_by === null;
  const about = leaf ? `${label}.grad` : `gradient of ${label}`;
  return tag(
    "section.input",
    tag("h2", `To ${label}`, quiet(name === label ? "" : ` (${name})`), " · ", status),
    figures(...made),
    grad.before === null && data.pool[grad.after].corner
      ? tag("p", `${about}: `, quiet(NO_VALUE), " ⟶ this contribution, the first to arrive")
      : figures(
          array(`${about} before`, data.pool[grad.before], scale),
          sign("⟶"),
          array(`${about} after`, data.pool[grad.after], scale),
        ),
  );
}

function savedSection(op) {
  const names = Object.keys(op.saved);
  if (!names.length) return tag("p.quiet", "Nothing was saved for backward.");
  const open = names.length <= 2 && names.every((name) => data.pool[op.saved[name]].data?.length <= 32);
  const arrays = names.map((name) => array(name, data.pool[op.saved[name]]));
  return element("details", { open }, tag("summary", `Saved for backward: ${listing(names)}`), figures(...arrays));
}

function forwardSection(op) {
  const inputs = op.inputs.map((input, i) => {
    if (input.tensor !== undefined)
      return array(inputName(op.names[i], tensorLabel(input.tensor)), valueOf(input.tensor));
    return input.number === null ? null : figuresNumber(op.names[i], input.number);
  });
  const result = array(inputName("z", tensorLabel(op.output)), valueOf(op.output));
  const heading = tag("summary", "Values of the forward pass");
  return tag("details", heading, figures(...inputs.filter(Boolean), sign("⟶"), result));
}

function inputName(name, label) {
  return name === label ? name : `${name} = ${label}`;
}

function figuresNumber(name, value) {
  return tag("figure", tag("figcaption", name), tag("span.big", format(value)));
}

// A row that was selected in the list: its value, its gradient so far, and what is still to come.
function nodePanel() {
  if (state.selected && rows.get(state.selected).group) return groupPanel(rows.get(state.selected));
  const tensor = state.selected && tensorOfRow(state.selected);
  if (tensor === null)
    return [tag("p.note", "Select a row of the graph: click it, use ↑ and ↓, or press / to find one.")];
  const record = data.tensors[tensor];
  const op = record.made_by === null ? null : data.ops[record.made_by];
  const gradient = gradientOf(tensor);
  const come = arrivals.get(tensor) ?? [];
  const parts = [tag("h2", record.label, quiet(` ${op ? `made by ${op.op}${inWhich(op.module)}` : record.kind}`))];
  if (op) parts.push(source(op.source), formulas(op, new Set()), constantsOf(op));
  const status = !gradient ? NO_VALUE : gradient.waiting ? `${gradient.waiting} more awaited` : "complete";
  parts.push(
    figures(
      array("value", data.pool[record.value]),
      array(`gradient after step ${state.step}, ${status}`, gradient?.summary),
    ),
  );
  const jump = (number, text) =>
    tag("li", element("button", { onclick: () => goTo(number, "step") }, `step ${number}`), ` ${text}`);
  const list = come.map((a) =>
    jump(a.step, `${opAt(a.step).op} ${a.step <= state.step ? "has contributed" : "will contribute"}`),
  );
  if (op && stepOfOp.has(record.made_by)) list.push(jump(stepOfOp.get(record.made_by), "sends it on"));
  parts.push(tag("h2", "Its steps"), tag("ul", ...list));
  if (op) parts.push(savedSection(op), forwardSection(op));
  return parts;
}

function groupPanel({ group, ops }) {
  const steps = ops.map((op) => stepOfOp.get(op)).filter(Boolean);
  const first = Math.min(...steps);
  return [
    tag("h2", group.group, quiet(` ${group.type}`)),
    tag("p", `${plural(ops.length, "op")}: ${listing([...new Set(ops.map((op) => data.ops[op].op))])}.`),
    steps.length
      ? tag(
          "p",
          "Backward comes here at ",
          element("button", { onclick: () => goTo(first, "step") }, `step ${first}`),
          ` and is done after step ${Math.max(...steps)}.`,
        )
      : null,
  ];
}

// Paths from one element of a weight to the loss.
function pathsPanel() {
  const { elements, note } = data.paths;
  const heading = tag("h2", "Paths to the loss");
  if (!elements.length) return [heading, tag("p.note", note)];
  const chosen = elements[state.element];
  const name = (e) => place([e.tensor, e.index]);
  const choose = (value) => {
    state.element = Number(value);
    drawPanel();
  };
  const select = chooser(
    "element",
    elements.map((e, i) => [i, name(e)]),
    state.element,
    choose,
  );
  const shown = chosen.paths.reduce((sum, path) => sum + path.product, 0);
  const rest = chosen.count - chosen.paths.length;
  return [
    heading,
    tag(
      "p",
      "Along a path the local derivatives multiply; over all paths the products add up. That sum is the gradient.",
    ),
    tag("div.picker", tag("label", "Element ", select)),
    note ? tag("p.note", note) : null,
    tag(
      "p",
      `${plural(chosen.count, "path")} from ${name(chosen)} to ${tensorLabel(data.root)}`,
      chosen.count
        ? ", the strongest first. Paths with a local derivative of 0 add nothing and are left out."
        : ": no change of it reaches the loss.",
    ),
    ...chosen.paths.map((path) => tag("div.path", chain(path))),
    tag(
      "p",
      tag("strong", `Sum ${format(shown)}`),
      rest > 0 ? ` + ${format(chosen.gradient - shown)} from ${plural(rest, "more path")}` : "",
      ` = gradient ${format(chosen.gradient)}`,
    ),
  ];
}

function chooser(id, options, chosen, choose) {
  const made = options.map(([value, text]) => element("option", { value, selected: value === chosen }, text));
  return element("select", { id, onchange: (event) => choose(event.target.value) }, ...made);
}

function chain(path) {
  const parts = [tag("span", place(path.places[0]))];
  path.derivatives.forEach((derivative, i) => {
    const op = data.ops[path.ops[i]];
    const uses = op.inputs.filter((input) => input.tensor === path.places[i][0]); // x * x: a path through each x
    const name = uses.length > 1 ? `${op.op} as ${op.names[path.slots[i]]}` : op.op;
    const arrow = () => tag("span.arrow", "→");
    const look = {
      class: "factor",
      style: `background: ${colour(derivative, 2)}`,
      title: `local derivative of ${op.op}`,
    };
    parts.push(arrow(), element("span", look, `${name} × ${format(derivative)}`), arrow(), place(path.places[i + 1]));
  });
  parts.push(tag("strong", `= ${format(path.product)}`));
  return tag("div.chain", ...parts);
}

function place([tensor, index]) {
  const shape = valueOf(tensor).shape;
  const indices = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    indices.unshift(index % shape[axis]);
    index = Math.floor(index / shape[axis]);
  }
  return tensorLabel(tensor) + (indices.length ? `[${indices.join(", ")}]` : "");
}

// A planted bug: right and wrong side by side.
function bugsPanel() {
  const heading = tag("h2", "Right and wrong side by side");
  if (!data.bugs.length) return [heading, tag("p.note", data.note)];
  const choose = (name) => {
    state.bug = name;
    if (chosenBug()?.parts) goTo(chosenBug().parts, "bugs");
    else draw();
  };
  const select = chooser("bug", [["", "none"], ...data.bugs.map((bug) => [bug.name, bug.name])], state.bug, choose);
  const parts = [heading, tag("div.picker", tag("label", "Show a bug: ", select))];
  const bug = chosenBug();
  if (!bug)
    return [
      ...parts,
      tag(
        "p.note",
        "Choose a classic mistake: what it does to this very run, where it first goes wrong, and who is right.",
      ),
    ];
  parts.push(tag("p", `${bug.says[0].toUpperCase()}${bug.says.slice(1)}.`));
  if (bug.first === null) return [...parts, tag("p.note", "In this run it makes no difference: all steps agree.")];
  if (bug.parts)
    parts.push(
      tag(
        "p",
        `They part first at `,
        element("button", { onclick: () => goTo(bug.parts, "bugs") }, `step ${bug.parts}`),
        ` (${opAt(bug.parts).op}).`,
      ),
    );
  if (bug.error) parts.push(tag("p.bad", `After ${bug.order.length} steps the faulty engine stops: ${bug.error}`));
  if (bug.loss && format(bug.loss[0]) !== format(bug.loss[1]))
    parts.push(tag("p", `The loss is ${format(bug.loss[0])}, with the bug ${format(bug.loss[1])}.`));
  if (bug.judge) parts.push(judge(bug.judge));
  return [...parts, ...versus(bug)];
}

function chosenBug() {
  return data.bugs.find((bug) => bug.name === state.bug);
}

function judge(found) {
  const where = found.label + (found.index.length ? `[${found.index.join(", ")}]` : "");
  const line = (name, value, kind) =>
    tag("tr", element("th", { scope: "row" }, name), element("td", { class: kind }, format(value)));
  const lines = [
    line("finite difference", found.slope, ""),
    line("right engine", found.right, "good"),
    line("with the bug", found.wrong, "bad"),
  ];
  return tag(
    "figure",
    tag("figcaption", `The judge: how the loss really changes with ${where}`),
    tag("table.numbers judge", tag("tbody", ...lines)),
  );
}

function versus(bug) {
  const step = current();
  if (!step) return [tag("p.note", "Before the first step there is nothing to compare.")];
  const op = data.ops[step.op];
  const turn = bug.order.indexOf(step.op);
  const title = tag("h2", `Step ${state.step}: ${op.op}${inWhich(op.module)}`);
  if (turn < 0) return [title, tag("p.note", "The faulty engine never comes to this op.")];
  if (turn < bug.first) return [title, tag("p.note", "Up to here both agree.")];
  const wrong = bug.steps[turn - bug.first];
  if (!wrong)
    return [title, tag("p.note", `The page keeps the first ${bug.steps.length} wrong steps; this one is later.`)];
  const parts = [title];
  if (turn + 1 !== state.step) parts.push(tag("p", `The faulty engine takes this op as its step ${turn + 1}.`));
  const pair = (caption, a, b) => {
    const [right, faulty] = [data.pool[a], data.pool[b]];
    const scale = scaleOf(right);
    const verdict = a === b ? quiet("the same") : tag("strong.bad", "differs");
    return [tag("div.right", array(caption, right, scale)), tag("div.wrong", array(caption, faulty, scale), verdict)];
  };
  const cells = [tag("h3.good", "right"), tag("h3.bad", "with the bug"), ...pair("dz", step.dz, wrong.dz)];
  step.grads.forEach((grad, i) => {
    if (!grad || !wrong.grads[i]) return;
    const label = tensorLabel(grad.tensor);
    cells.push(
      ...pair(`contribution to ${label}`, grad.contribution, wrong.grads[i].contribution),
      ...pair(`gradient of ${label} after`, grad.after, wrong.grads[i].after),
    );
  });
  return [...parts, tag("div.versus", ...cells)];
}

// What changes the state.
function draw() {
  byId("slider").value = state.step;
  byId("slider").setAttribute("aria-valuetext", sentence());
  byId("counter").textContent = `${state.step} / ${last}`;
  byId("said").textContent = sentence();
  for (const id of ["home", "back"]) byId(id).disabled = state.step === 0;
  for (const id of ["next", "end", "continue", "module"]) byId(id).disabled = state.step === last;
  byId("break").setAttribute("aria-pressed", String(state.stops.has(breakTarget())));
  drawRows();
  drawPanel();
}

function goTo(step, tab) {
  const next = Math.max(0, Math.min(last, step));
  if (tab) state.tab = tab;
  if (next !== state.step && tab === undefined) {
    state.selected = null;
    if (state.tab === "node") state.tab = "step";
  }
  state.step = next;
  history.replaceState(null, "", `#step=${next}`);
  draw();
  const active = current();
  if (active) rows.get(visible(`op-${active.op}`)).button.scrollIntoView({ block: "nearest" });
}

// A breakpoint on an op holds at its step, one on a leaf at every step that adds to it.
function stopsAt(step) {
  const { op, grads } = data.steps[step - 1];
  return state.stops.has(`op-${op}`) || grads.some((g) => g && state.stops.has(`leaf-${g.tensor}`));
}

function continueOn() {
  let step = state.step + 1;
  while (step < last && !stopsAt(step)) step++;
  goTo(step);
}

function nextModule() {
  const module = current() ? data.ops[current().op].module : null;
  let step = state.step + 1;
  while (step < last && opAt(step).module === module) step++;
  goTo(step);
}

function play(on) {
  clearInterval(state.timer);
  state.timer = on
    ? setInterval(() => {
        goTo(state.step + 1);
        if (state.step === last || stopsAt(state.step)) play(false);
      }, 900)
    : null;
  byId("play").setAttribute("aria-pressed", String(on));
  byId("play").textContent = on ? "Pause" : "Play";
}

function togglePlay() {
  if (!state.timer && state.step === last) goTo(0);
  play(!state.timer);
}

function breakTarget() {
  if (state.selected && !rows.get(state.selected).group) return state.selected;
  return current() ? `op-${current().op}` : null;
}

function toggleBreak() {
  const key = breakTarget();
  if (!key) return;
  if (!state.stops.delete(key)) state.stops.add(key);
  draw();
}

function pressed(key) {
  const row = rows.get(key);
  if (row.group) {
    state.open[key] = !isOpen(key);
    state.selected = key;
    draw();
  } else select(key);
}

function select(key) {
  state.selected = key;
  for (const parent of rows.get(key).parents) if (!isOpen(parent)) state.open[parent] = true;
  if (!rows.get(key).group && (state.tab === "step" || state.tab === "node")) state.tab = "node";
  draw();
  rows.get(key).button.focus();
  rows.get(key).button.scrollIntoView({ block: "nearest" });
}

function move(by) {
  const shown = [...rows.values()].filter((row) => !row.hidden);
  const from = shown.findIndex((row) => row.key === (state.selected ?? (current() && visible(`op-${current().op}`))));
  const row = shown[Math.max(0, Math.min(shown.length - 1, from + by))];
  if (row) select(row.key);
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = [];
  for (const row of rows.values()) {
    if (row.group) continue;
    const tensor = data.tensors[tensorOfRow(row.key)];
    const op = tensor.made_by === null ? null : data.ops[tensor.made_by];
    const said = `${tensor.label} ${op ? `${op.op} ${op.module}` : tensor.kind}`;
    if (words.every((word) => said.toLowerCase().includes(word)))
      hits.push({ row, label: tensor.label, about: op ? `${op.op}${inWhich(op.module)}` : tensor.kind });
  }
  const choose = (key) => {
    byId("finder").close();
    state.tab = "node";
    select(key);
  };
  const entry = ({ row, label, about }) =>
    tag("li", element("button", { onclick: () => choose(row.key) }, tag("span.name", label), quiet(about)));
  byId("found").replaceChildren(...hits.slice(0, 50).map(entry));
  if (!hits.length) byId("found").append(tag("li.quiet", "nothing of this name"));
}

function openFinder() {
  byId("finder").showModal();
  byId("query").value = "";
  find("");
}

const KEYS = {
  ArrowRight: () => goTo(state.step + 1),
  ArrowLeft: () => goTo(state.step - 1),
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  Home: () => goTo(0),
  End: () => goTo(last),
  " ": togglePlay,
  c: continueOn,
  m: nextModule,
  b: toggleBreak,
  "/": openFinder,
  "?": () => byId("keys").showModal(),
  Escape: () => {
    state.selected = null;
    state.tab = "step";
    draw();
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  const across = event.key === "ArrowLeft" || event.key === "ArrowRight"; // these step even where a list has the focus
  if (target.matches("select") && !across) return;
  if (target.matches("input:not([type=range])") || (target === byId("slider") && event.key.startsWith("Arrow"))) return;
  if (event.key === " " && target.matches("button, summary") && !target.matches(".row:not(.group)")) return;
  if (target.matches("[role=tab]") && event.key.startsWith("Arrow")) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  if (event.key !== " " && !["b", "?", "/"].includes(event.key)) play(false);
  action();
});

const BUTTONS = {
  home: "Home",
  back: "ArrowLeft",
  next: "ArrowRight",
  end: "End",
  play: " ",
  continue: "c",
  module: "m",
  break: "b",
  find: "/",
  help: "?",
};
for (const [id, key] of Object.entries(BUTTONS)) byId(id).addEventListener("click", KEYS[key]);
byId("slider").addEventListener("input", (event) => goTo(Number(event.target.value)));
byId("query").addEventListener("input", (event) => find(event.target.value));
byId("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter") byId("found").querySelector("button")?.click();
  if (event.key === "ArrowDown") byId("found").querySelector("button")?.focus();
  if (event.key === "Enter" || event.key === "ArrowDown") event.preventDefault();
});
byId("found").addEventListener("keydown", (event) => {
  const by = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!by) return;
  event.preventDefault();
  (event.target.closest("li")[by]?.querySelector("button") ?? byId("query")).focus();
});
const TABS = ["step", "node", "paths", "bugs"];
for (const name of TABS) {
  byId(`tab-${name}`).addEventListener("click", () => {
    state.tab = name;
    drawPanel();
  });
  byId(`tab-${name}`).addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    state.tab = TABS[(TABS.indexOf(name) + by + TABS.length) % TABS.length];
    drawPanel();
    byId(`tab-${state.tab}`).focus();
  });
}

function fromHash() {
  const found = /^#step=(\d+)$/.exec(location.hash);
  return found ? Math.min(last, Number(found[1])) : 0;
}

addEventListener("hashchange", () => goTo(fromHash()));
addEventListener("resize", () => drawRows());
byId("title").textContent = data.title;
byId("subtitle").textContent = [data.passes > 1 ? `backward pass ${data.which + 1} of ${data.passes}` : "", data.cut]
  .filter(Boolean)
  .join(" · ");
byId("slider").max = last;
makeRows(data.tree, [], 0);
makeLinks();
goTo(fromHash());
document.documentElement.dataset.ready = "yes";
