// What changes the state: stepping, playing, selecting, finding.
function draw() {
  byId("slider").value = state.step;
  byId("slider").setAttribute("aria-valuetext", sentence());
  byId("counter").textContent = `${state.step} / ${last}`;
  byId("said").textContent = sentence();
  for (const id of ["home", "back"]) byId(id).disabled = state.step === 0;
  for (const id of ["next", "end", "continue", "module", "play"]) byId(id).disabled = id === "play" ? !last : state.step === last;
  byId("break").setAttribute("aria-pressed", String(state.stops.has(breakTarget())));
  drawRows();
  drawPanel();
}

function goTo(step, tab) {
  const next = Math.max(0, Math.min(last, step));
  if (tab) state.tab = tab;
  if (state.hunt && next !== state.step) state.hunt.said = "";
  if (next !== state.step && tab === undefined) {
    state.selected = null;
    if (state.tab === "node") state.tab = "step";
  }
  if (next !== state.step) state.slices = {};
  state.step = next;
  try {
    history.replaceState(null, "", page.views.length > 1 ? `#pass=${chosen + 1}&step=${next}` : `#step=${next}`);
  } catch {} // a page inside another page may have no address of its own
  draw();
  const active = current();
  if (active) rows.get(visible(`op-${active.op}`)).button.scrollIntoView({ block: "nearest" });
}

// A breakpoint on an op or line holds at its steps, one on a leaf at every step that adds to it.
function stopsAt(step) {
  const { op, grads } = data.steps[step - 1];
  const line = data.ops[op].source;
  if (line && state.stops.has(lineKey(line))) return true;
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
      }, Number(byId("speed").value))
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

const FOUND = 50; // results that are listed

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
  byId("found").replaceChildren(...hits.slice(0, FOUND).map(entry));
  if (hits.length > FOUND) byId("found").append(tag("li.quiet", `and ${(hits.length - FOUND).toLocaleString("en")} more: type more of the name`));
  if (!hits.length) byId("found").append(tag("li.quiet", "nothing of this name"));
}

function openFinder() {
  byId("finder").showModal();
  byId("query").value = "";
  find("");
}

