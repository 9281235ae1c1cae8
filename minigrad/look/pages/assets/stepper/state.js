// The stepper's data and state: which pass, which step, what is selected; and the small helpers that all parts use.

const page = readData();
function passOf(hash) {
  const number = Number(new URLSearchParams(hash.slice(1)).get("pass") ?? 1);
  return Number.isInteger(number) ? Math.max(1, Math.min(page.views.length, number)) - 1 : 0;
}
const chosen = passOf(location.hash);
const data = page.views[chosen];
for (const op of Object.values(data.ops)) op.formulas = data.formulas[op.formulas];
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
  hunt: null, // {bug, said, found} while a bug is looked for
  nudged: 0, // the flat place of the number whose curve is shown
  by: 1, // how many steps it is moved
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

// Whether a quiz still asks for what this step gives.
function isHidden({ step, grad }) {
  return data.quiz && step === state.step && isAsked(step, data.steps[step - 1].grads.indexOf(grad));
}

// The gradient of a tensor after so many steps: {summary, waiting}, or null as long as nothing has arrived.
function gradientOf(tensor, step = state.step) {
  const all = arrivals.get(tensor) ?? [];
  let last = all.length - 1;
  while (last >= 0 && (all[last].step > step || isHidden(all[last]))) last--;
  if (last >= 0) return { summary: data.pool[all[last].grad.after], waiting: all[last].grad.waiting };
  return tensor === data.root ? { summary: data.pool[data.start], waiting: 0 } : null;
}

const tensorLabel = (id) => data.tensors[id].shown; // its name, or the piece of source that made it
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

function oneNumber(summary) {
  return summary.data && summary.data.length === 1 ? format(summary.data[0]) : `an array ${shapeOf(summary)}`;
}

