// A picture that steps: the graph in layers from left to right; of a large one what is around the current step.
const WHOLE = 40; // nodes that are drawn all at once
const AROUND = 18; // of a larger graph, those nearest to the step
const BOX = { width: 128, height: 44, across: 210, down: 62 };

// Keys of rows: what each op is made from, and what each tensor goes into.
function graphOf(ops, keyOf) {
  const inputs = new Map();
  const users = new Map();
  for (const [id, op] of Object.entries(ops)) {
    const key = `op-${id}`;
    inputs.set(key, [...new Set(op.inputs.filter((i) => i.tensor !== undefined).map((i) => keyOf(i.tensor)))]);
    for (const from of inputs.get(key)) {
      if (!users.has(from)) users.set(from, []);
      users.get(from).push(key);
    }
  }
  return { inputs, users };
}

// The nodes nearest to one, by steps along edges, at most so many.
function nearest({ inputs, users }, start, most) {
  const found = new Set([start]);
  for (const key of found) {
    for (const next of [...(inputs.get(key) ?? []), ...(users.get(key) ?? [])]) {
      if (found.size >= most) return found;
      found.add(next);
    }
  }
  return found;
}

// Where each node stands: its layer is one after the last of its inputs, a leaf is one before its first use; in a layer
// nodes stand in the order of what they are connected to.
function layered(nodes, { inputs, users }) {
  const order = [...nodes].sort((a, b) => rank(a) - rank(b));
  const layer = new Map();
  for (const key of order) {
    const before = (inputs.get(key) ?? []).filter((k) => layer.has(k)).map((k) => layer.get(k));
    layer.set(key, before.length ? Math.max(...before) + 1 : 0);
  }
  for (const key of order) {
    const after = (users.get(key) ?? []).filter((k) => layer.has(k)).map((k) => layer.get(k));
    if (!(inputs.get(key) ?? []).some((k) => nodes.has(k)) && after.length) layer.set(key, Math.max(0, Math.min(...after) - 1));
  }
  const columns = [];
  for (const key of order) (columns[layer.get(key)] ??= []).push(key);
  const place = new Map();
  for (let x = columns.length - 1; x >= 0; x--) {
    const column = columns[x] ?? [];
    const wish = (key) => {
      const ends = (users.get(key) ?? []).filter((k) => place.has(k)).map((k) => place.get(k)[1]);
      return ends.length ? ends.reduce((a, b) => a + b, 0) / ends.length : 0;
    };
    const wanted = column.map((key) => [wish(key), key]).sort((a, b) => a[0] - b[0]);
    let next = -Infinity;
    const middle = (wanted.length - 1) / 2;
    for (const [i, [y, key]] of wanted.entries()) {
      next = Math.max(next + 1, y + (i - middle) * 0.001);
      place.set(key, [x, next]);
    }
  }
  return place;
}

// Leaves and ops in the order they came up: a leaf has the number of its tensor, an op that of its result.
function rank(key) {
  const [kind, id] = key.split("-");
  return kind === "op" ? data.ops[id].output : Number(id);
}

function picturePanel() {
  const graph = graphOf(data.ops, keyOfTensor);
  const step = current();
  const active = step ? `op-${step.op}` : keyOfTensor(data.root);
  const all = new Set([...graph.inputs.keys(), ...[...graph.inputs.values()].flat()]);
  const nodes = all.size <= WHOLE ? all : nearest(graph, active, AROUND);
  const place = layered(nodes, graph);
  const [left, top] = [0, 1].map((axis) => Math.min(...[...place.values()].map((at) => at[axis])));
  const at = (key) => [10 + (place.get(key)[0] - left) * BOX.across, 14 + (place.get(key)[1] - top) * BOX.down];
  const [right, bottom] = [0, 1].map((axis) => Math.max(...[...place.keys()].map((key) => at(key)[axis])));
  const [width, height] = [right + BOX.width + 12, bottom + BOX.height + 14];
  const svg = svgElement("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "picture", role: "group", "aria-label": "the graph" });
  const fed = new Map(step ? step.grads.flatMap((g) => (g ? [[keyOfTensor(g.tensor), g]] : [])) : []);
  const labels = [];
  for (const [to, froms] of graph.inputs) {
    for (const from of froms) {
      if (!nodes.has(to) || !nodes.has(from)) continue;
      const [[x1, y1], [x2, y2]] = [at(from), at(to)];
      const lit = to === active && fed.has(from);
      const [a, b] = [[x1 + BOX.width, y1 + BOX.height / 2], [x2, y2 + BOX.height / 2]];
      const bend = Math.max(24, (b[0] - a[0]) / 2);
      svg.append(svgElement("path", { class: lit ? "edge lit" : "edge", d: `M ${b[0]} ${b[1]} C ${b[0] - bend} ${b[1]}, ${a[0] + bend} ${a[1]}, ${a[0]} ${a[1]}` }));
      if (lit && !isAsked(state.step, step.grads.indexOf(fed.get(from)))) {
        const label = svgElement("text", { class: "carried", x: a[0] + 6, y: a[1] - 5 });
        label.textContent = inShort(data.pool[fed.get(from).contribution]);
        labels.push(label);
      }
    }
  }
  for (const key of nodes) svg.append(nodeOf(key, at(key), active, fed.get(key)));
  svg.append(...labels);
  const note = all.size > nodes.size ? `The ${nodes.size} nodes nearest to this step, of ${all.size}. ` : "";
  return [
    tag("h2", "The graph"),
    tag("p.quiet", `${note}A box is filled when its gradient has come, and dashed while more is to come. A click goes to its step.`),
    element("div", { class: "canvas", tabindex: 0, role: "group", "aria-label": "the graph, which scrolls" }, svg),
  ];
}

function inShort(summary) {
  if (summary.nonfinite) return "not finite";
  return summary.data?.length === 1 ? plain(summary.data[0]) : `‖${plain(summary.norm ?? 0)}‖`;
}

// A box: the name, and under it the gradient so far, as a sum while it grows.
function nodeOf(key, [x, y], active, grad) {
  const tensor = tensorOfRow(key);
  const gradient = gradientOf(tensor);
  const op = data.tensors[tensor].made_by === null ? null : data.ops[data.tensors[tensor].made_by];
  const asked = grad && isAsked(state.step, current().grads.indexOf(grad));
  let text = gradient ? inShort(gradient.summary) : "";
  if (grad && !asked && grad.before !== null) text = `${inShort(data.pool[grad.before])} + ${inShort(data.pool[grad.contribution])} = ${text}`;
  const { named, shown, label, symbol } = data.tensors[tensor];
  const name = named ? symbol : !op || shown !== label ? shown : op.op;
  const kind = `${key === active ? " active" : ""}${gradient ? (gradient.waiting ? " partial" : " filled") : ""}${grad && !asked ? " fresh" : ""}`;
  const go = () => {
    const to = op ? stepOfOp.get(data.tensors[tensor].made_by) : arrivals.get(tensor)?.[0].step;
    if (to) goTo(to, "picture");
  };
  const box = svgElement("g", { class: `node${kind}`, tabindex: key === active ? 0 : -1, role: "button", transform: `translate(${x} ${y})` });
  box.addEventListener("click", go);
  box.addEventListener("keydown", (event) => event.key === "Enter" && go());
  const line = (content, cls, dy) => {
    const made = svgElement("text", { class: cls, x: 8, y: dy });
    made.textContent = content.length > 15 && cls === "name" ? `${content.slice(0, 14)}…` : content;
    return made;
  };
  const title = svgElement("title", {});
  title.textContent = `${data.tensors[tensor].shown}: ${valueText(data.tensors[tensor])}`;
  box.append(title, svgElement("rect", { width: BOX.width, height: BOX.height, rx: 7 }), line(name, "name", 18), line(text, "grad", 35));
  return box;
}
