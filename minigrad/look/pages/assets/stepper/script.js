// The script as the map: its listing, the current line lit, the size of the gradient that passes each line, breakpoints.
const opsOfLine = new Map(); // "file:line" -> ops
for (const [id, op] of Object.entries(data.ops)) {
  if (!op.source) continue;
  const key = lineKey(op.source);
  if (!opsOfLine.has(key)) opsOfLine.set(key, []);
  opsOfLine.get(key).push(Number(id));
}

function lineKey({ file, line }) {
  return `line-${file}:${line}`;
}

// "iteration 17 of 20" of a line that ran more than once; nothing for one that ran once.
function iteration(op) {
  if (!op.source) return "";
  const same = opsOfLine.get(lineKey(op.source)).filter((id) => data.ops[id].op === op.op);
  const total = Math.max(...same.map((id) => data.ops[id].source.turn));
  return total > 1 ? `iteration ${op.source.turn} of ${total}` : "";
}

// The largest gradient that has come to a line so far; null as long as none has.
function sizeOfLine(key) {
  const steps = (opsOfLine.get(key) ?? []).map((op) => stepOfOp.get(op)).filter((step) => step && step <= state.step);
  return steps.length ? Math.max(...steps.map((step) => sizeOf(data.pool[data.steps[step - 1].dz]))) : null;
}

function scriptPanel() {
  const files = Object.entries(data.files);
  if (!files.length) return [tag("h2", "The script"), tag("p.note", "Its lines were not recorded.")];
  const op = current() ? data.ops[current().op] : null;
  const here = op?.source ? lineKey(op.source) : null;
  const shown = op?.source && data.files[op.source.file] ? op.source.file : state.file && data.files[state.file] ? state.file : files[0][0];
  state.file = shown;
  const choose = (file) => {
    state.file = file;
    drawPanel();
  };
  const picker = files.length > 1 ? tag("label.picker", "File ", chooser("file", files.map(([name]) => [name, name]), shown, choose)) : null;
  const lines = [];
  let before = data.files[shown][0]?.[0] ?? 1;
  for (const [number, text] of data.files[shown]) {
    if (number > before + 1) lines.push(tag("div.gap", "…"));
    before = number;
    lines.push(lineOf(lineKey({ file: shown, line: number }), number, text, here, op));
  }
  const stop = lines.find((line) => line.getAttribute("aria-current")) ?? lines.find((line) => line.tagName === "BUTTON");
  if (stop) stop.tabIndex = 0;
  return [
    tag("h2", shown),
    tag("p.quiet", "The bar is the size of the largest gradient that has come to a line, on a log scale. A click sets a breakpoint."),
    picker,
    element("div", { class: "listing" }, ...lines),
  ];
}

function lineOf(key, number, text, here, op) {
  const size = sizeOfLine(key);
  const turn = key === here ? iteration(op) : "";
  const parts = [
    tag("span.number", String(number)),
    tag("code", text || " "),
    turn ? tag("span.turn", turn) : "",
    size === null ? "" : sizeBar(size),
  ];
  if (!opsOfLine.has(key)) return tag("div.line", ...parts);
  const set = state.stops.has(key);
  const attributes = {
    class: `line ran${key === here ? " active" : ""}${set ? " stop" : ""}`,
    "aria-pressed": String(set),
    "aria-current": key === here ? "step" : null,
    title: set ? "clear the breakpoint" : "set a breakpoint",
    id: key,
    tabindex: -1,
    onclick: () => {
      if (!state.stops.delete(key)) state.stops.add(key);
      draw();
      byId(key)?.focus();
    },
  };
  return element("button", attributes, ...parts);
}

// The arrows in the listing: to the next line that ran.
function moveInListing(event) {
  const lines = [...byId("panel").querySelectorAll("button.line")];
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const next = lines[lines.indexOf(event.target) + by];
  event.preventDefault();
  next?.focus();
}
