// The panel at the right: this step, the selected row, paths, and what a planted bug does.

const TABS = ["step", "picture", "script", "node", "paths", "bugs"];

// The panel at the right; what had the focus in it keeps it.
function drawPanel() {
  const focused = byId("panel").contains(document.activeElement) ? document.activeElement.id : "";
  for (const name of TABS) {
    const on = state.tab === name;
    byId(`tab-${name}`).setAttribute("aria-selected", String(on));
    byId(`tab-${name}`).tabIndex = on ? 0 : -1;
  }
  zooms = 0;
  byId("panel").setAttribute("aria-labelledby", `tab-${state.tab}`);
  byId("panel").replaceChildren(
    ...{
      step: stepPanel,
      picture: picturePanel,
      script: scriptPanel, node: nodePanel, paths: pathsPanel, bugs: bugsPanel }[state.tab]().filter(Boolean),
  );
  if (focused) byId(focused)?.focus();
  byId("panel").querySelector(".listing .active, .canvas .active")?.scrollIntoView({ block: "nearest", inline: "center" });
}

// One sentence for a step, as it is read out.
function sentence() {
  const step = current();
  if (data.failure && !last) return `The run stopped with an error after ${plural(Object.keys(data.ops).length, "op")}.`;
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

function stepPanel() {
  const step = current();
  if (!step) return data.failure && !last ? failurePanel() : startPanel();
  const op = data.ops[step.op];
  const used = new Set(step.grads.map((g, i) => (g ? op.lines[i] : null)).filter((i) => i !== null && i !== undefined));
  const panel = [
    tag("h2", `${op.op}${inWhich(op.module)}`, op.type ? quiet(` ${op.type}`) : null),
    data.quiz ? quizStatus() : null,
    source(op.source, iteration(op)),
    tag("p.says", op.says),
    forwardLine(op),
    formulas(op, used),
    symbols(op),
    constantsOf(op),
    figures(array(`dz, the gradient of ${tensorLabel(op.output)}, arrives`, data.pool[step.dz], undefined, "dz")),
    ...step.grads.map((grad, i) => (grad ? inputSection(op, step, grad, i) : null)),
    savedSection(op),
    forwardSection(op),
  ];
  return panel;
}

// Step 0: what was computed, what is asked, and why the steps go from the end.
function startPanel() {
  const root = data.tensors[data.root];
  const held = Object.entries(data.held);
  return [
    tag("h2", "Before the first step"),
    source(data.source),
    ...data.intro.map((line) => tag("p.says", line)),
    ...held.map(([tensor, since]) =>
      tag("p.bad", `${tensorLabel(tensor)}.grad was not zeroed since pass ${since}: this pass adds to what it holds.`),
    ),
    tag("p", "Every value is there, no gradient is. The first step starts from this one:"),
    figures(
      array(`${root.shown}, the value`, data.pool[root.value]),
      array(`gradient of ${root.shown} by itself`, data.pool[data.start]),
    ),
    tag("p.quiet", "Press → for the first step, ? for all keys."),
  ];
}

// A run that stopped before backward: the op that failed, and what it was given.
function failurePanel() {
  const { error, source: where, op, module, inputs } = data.failure;
  const given = inputs.map((x) => (x.label ? `${x.label} (${x.shape.join(", ")})` : String(x.number)));
  return [
    tag("h2", op ? `${op}${inWhich(module)} failed` : "The run failed"),
    source(where),
    tag("p.bad", error),
    op ? tag("p", "It was given: ", tag("code", given.join(", ")), ".") : null,
    tag("p", "What ran before is in the list: select a row for its value. No backward was called, so no gradient is there."),
  ];
}

// The result in names and numbers: o = tanh(n) = tanh(0.8814) = 0.7071.
function forwardLine(op) {
  if (!op.forward) return null;
  const z = valueOf(op.output);
  const text = `${data.tensors[op.output].shown} = ${spellNames(op.forward, namesIn(op))}`;
  const spelled = z.data?.length === 1 && op.forward.kind === "elements" ? spellElement(op.forward, arraysOf(op), z, 0, plain) : null;
  const value = z.data?.length === 1 ? plain(z.data[0]) : "";
  const numbers = spelled ? ` = ${spelled.text}${spelled.text === value ? "" : ` = ${value}`}` : "";
  return tag("p.forward", quiet("forward: "), tag("code", text + numbers));
}

const plain = (value) => format(value).replace(/^-/, "−");

// The script's names for what the op's formulas call z, dz and the inputs.
function namesIn(op) {
  const names = { z: data.tensors[op.output].symbol, dz: data.tensors[op.output].gradient };
  op.inputs.forEach((input, i) => {
    names[op.names[i]] = input.tensor === undefined ? plain(input.number) : data.tensors[input.tensor].symbol;
  });
  return names;
}

// The arrays and numbers behind those names.
function arraysOf(op, step) {
  const found = { z: valueOf(op.output) };
  for (const [name, value] of Object.entries(op.constants)) if (!Number.isNaN(Number(value))) found[name] = Number(value);
  if (step) found.dz = data.pool[step.dz];
  op.inputs.forEach((input, i) => {
    found[op.names[i]] = input.tensor === undefined ? input.number : valueOf(input.tensor);
  });
  const size = (x) => x?.shape?.reduce((product, n) => product * n, 1) ?? 1;
  found.n ??= size(found.x) / size(found.z);
  found.N ??= found.n;
  return found;
}

const SIGNS = {
  "⊙": "multiplies element by element",
  "∑": "adds up",
  T: "as an exponent: rows and columns exchanged",
  n: "how many numbers",
  N: "how many are averaged",
};

// A symbol of a formula that is pointed at lights its line below.
function pointAtSymbol(token) {
  const before = token?.previousElementSibling;
  const text = token ? (before?.textContent === "d" ? `d${token.textContent}` : token.textContent.trim()) : "";
  for (const entry of byId("panel").querySelectorAll("#symbols [data-symbol]"))
    entry.classList.toggle("lit", entry.dataset.symbol === text);
}

// What the symbols of the formulas stand for in this step.
function symbols(op) {
  const output = data.tensors[op.output];
  const entries = { z: `the result, ${output.shown}`, dz: `the gradient of ${output.shown}, which has arrived` };
  op.inputs.forEach((input, i) => {
    const name = op.names[i];
    if (input.tensor === undefined) entries[name] = `the number ${plain(input.number)}`;
    else {
      const tensor = data.tensors[input.tensor];
      entries[name] = tensor.shown;
      if (op.lines[i] !== null) entries[`d${name}`] = `what goes on to ${tensor.shown}`;
    }
  });
  for (const [name, value] of Object.entries(op.constants)) entries[name] = `here ${value}`;
  const written = JSON.stringify(op.formulas);
  for (const [sign, text] of Object.entries(SIGNS)) if (written.includes(`"${sign}"`)) entries[sign] = text;
  const parts = Object.entries(entries).map(([name, text]) =>
    element("span", { "data-symbol": name }, tag("code", name), ` ${text}`),
  );
  return element("p", { class: "symbols quiet", id: "symbols" }, ...parts);
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
  const target = data.pool[grad.contribution];
  const scale = scaleOf(data.pool[grad.before], data.pool[grad.after], data.pool[grad.contribution]);
  const status = grad.waiting
    ? tag("span.awaited", `${plural(grad.waiting, "more contribution")} awaited`)
    : tag("span.complete", "complete");
  if (isAsked(state.step, i))
    return element("section", { class: "input", "data-input": i }, tag("h2", `To ${label}`), questionOf(op, step, grad, i));
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
  made.push(array(`contribution to ${label}`, target, scale, `d${name}`));
  const leaf = data.tensors[grad.tensor].made_by === null;
  const about = leaf ? `${label}.grad` : `gradient of ${label}`;
  return element(
    "section",
    { class: "input", "data-input": i },
    tag("h2", `To ${label}`, quiet(name === label ? "" : ` (${name})`), " · ", status),
    spelledLine(op, step, grad, i),
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

// The contribution in names and in numbers: of its only element, of the one that is pointed at, or of the largest.
function spelledLine(op, step, grad, i) {
  if (!grad.spelled) return null;
  const name = `${data.tensors[grad.tensor].gradient} = ${spellNames(grad.spelled, namesIn(op))}`;
  const made = element("p", { class: "spelled", "data-input": i }, tag("code", name + elementText(op, step, i, null)));
  return made;
}

function largest(summary) {
  const sizes = summary.data.map((value) => (typeof value === "number" ? Math.abs(value) : Infinity));
  return sizes.indexOf(Math.max(...sizes));
}

// " = 1 · (1 − 0.7071²) = 0.5"; for an array with the index of the element first.
function elementText(op, step, i, flat) {
  const grad = step.grads[i];
  const target = data.pool[grad.contribution];
  if (!target.data?.length) return "";
  const found = spellElement(grad.spelled, arraysOf(op, step), target, flat ?? largest(target), plain);
  if (!found) return "";
  const value = plain(target.data[flat ?? largest(target)]);
  const numbers = `${found.text}${found.text === value ? "" : ` = ${value}`}`;
  if (target.data.length === 1) return ` = ${numbers}`;
  return `; ${data.tensors[grad.tensor].gradient}[${unravel(flat ?? largest(target), target.shape).join(", ")}] = ${numbers}`;
}

// A click on a number of a leaf chooses it for its curve; in a step it leads to the leaf.
function clickAt(cell) {
  const role = cell?.closest("figure[data-role]")?.dataset.role;
  if (!role) return;
  const step = current();
  if (state.tab === "node" && role === "leaf") state.nudged = Number(cell.dataset.at);
  else if (state.tab === "step" && step) {
    const op = data.ops[step.op];
    const i = op.names.indexOf(role);
    const tensor = i >= 0 ? op.inputs[i].tensor : undefined;
    if (tensor === undefined || !nudgesOf(tensor).length) return;
    state.nudged = Number(cell.dataset.at);
    select(`leaf-${tensor}`);
    return;
  } else return;
  drawPanel();
}

// A cell of a contribution that is pointed at: its sum in numbers, and what it was made from is lit.
function pointAt(cell) {
  for (const lit of byId("panel").querySelectorAll("td.lit")) lit.classList.remove("lit");
  const section = cell?.closest("section.input");
  const figure = cell?.closest("figure[data-role]");
  if (!section || !figure || state.tab !== "step") return;
  const step = current();
  const op = data.ops[step.op];
  const i = Number(section.dataset.input);
  if (figure.dataset.role !== `d${op.names[i]}`) return;
  const flat = Number(cell.dataset.at);
  const line = section.querySelector(".spelled code");
  if (!line) return;
  const name = `${data.tensors[step.grads[i].tensor].gradient} = ${spellNames(step.grads[i].spelled, namesIn(op))}`;
  line.textContent = name + elementText(op, step, i, flat);
  cell.classList.add("lit");
  const found = spellElement(step.grads[i].spelled, arraysOf(op, step), data.pool[step.grads[i].contribution], flat, plain);
  for (const [role, places] of Object.entries(found?.cells ?? {})) {
    for (const other of byId("panel").querySelectorAll(`figure[data-role="${role}"] td`))
      if (places.has(Number(other.dataset.at))) other.classList.add("lit");
  }
}

function savedSection(op) {
  const names = Object.keys(op.saved);
  if (!names.length) return tag("p.quiet", "Nothing was saved for backward.");
  const arrays = names.map((name) => array(name, data.pool[op.saved[name]]));
  return tag("details", tag("summary", `Saved for backward: ${listing(names)}`), figures(...arrays));
}

function forwardSection(op) {
  const inputs = op.inputs.map((input, i) => {
    if (input.tensor !== undefined)
      return array(inputName(op.names[i], tensorLabel(input.tensor)), valueOf(input.tensor), undefined, op.names[i]);
    return input.number === null ? null : figuresNumber(op.names[i], input.number);
  });
  const result = array(inputName("z", tensorLabel(op.output)), valueOf(op.output), undefined, "z");
  const heading = tag("summary", "Values of the forward pass");
  const sizes = [op.output, ...op.inputs.map((input) => input.tensor).filter((t) => t !== undefined)];
  const open = sizes.every((t) => (valueOf(t).data?.length ?? Infinity) <= 64);
  return element("details", { open }, heading, figures(...inputs.filter(Boolean), sign("⟶"), result));
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
  const parts = [tag("h2", record.shown, quiet(` ${op ? `made by ${op.op}${inWhich(op.module)}` : record.kind}`))];
  if (op) parts.push(source(op.source), formulas(op, new Set()), constantsOf(op));
  const status = !gradient ? NO_VALUE : gradient.waiting ? `${gradient.waiting} more awaited` : "complete";
  parts.push(
    figures(
      array("value", data.pool[record.value], undefined, op ? "" : "leaf"),
      array(`gradient after step ${state.step}, ${status}`, gradient?.summary),
    ),
  );
  const jump = (number, text) =>
    tag("li", element("button", { onclick: () => goTo(number, "step") }, `step ${number}`), ` ${text}`);
  const list = come.map((a) =>
    jump(a.step, `${opAt(a.step).op} ${a.step <= state.step ? "has contributed" : "will contribute"}`),
  );
  if (op && stepOfOp.has(record.made_by)) list.push(jump(stepOfOp.get(record.made_by), "sends it on"));
  if (!op) parts.push(nudgeSection(tensor));
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
  if (data.quiz) return [heading, tag("p.note", "Not in a quiz.")];
  if (!elements.length) return [heading, tag("p.note", note)];
  const one = elements[state.element];
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
  const shown = one.paths.reduce((sum, path) => sum + path.product, 0);
  const rest = one.count - one.paths.length;
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
      `${plural(one.count, "path")} from ${name(one)} to ${tensorLabel(data.root)}`,
      one.count
        ? ", the strongest first. Paths with a local derivative of 0 add nothing and are left out."
        : ": no change of it reaches the loss.",
    ),
    ...one.paths.map((path) => tag("div.path", chain(path))),
    tag(
      "p",
      tag("strong", `Sum ${format(shown)}`),
      rest > 0 ? ` + ${format(one.gradient - shown)} from ${plural(rest, "more path")}` : "",
      ` = gradient ${format(one.gradient)}`,
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
    const look = { class: "factor", title: `local derivative of ${op.op}` };
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

