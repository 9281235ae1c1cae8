// Predict: with a quiz what a step gives is hidden until it is answered; the result is a short code. And: find the bug.
const answers = new Map(); // "step.input" -> {tries, right, hint, open}
const questions = data.quiz
  ? data.steps.flatMap((step, s) => step.grads.flatMap((grad, i) => (grad && data.pool[grad.contribution].data?.length ? [`${s + 1}.${i}`] : [])))
  : [];

// Whether what a step gives to an input is still to be answered.
function isAsked(step, i) {
  const key = `${step}.${i}`;
  return questions.includes(key) && !(answers.get(key)?.right || answers.get(key)?.open);
}

function kindOfQuestion(summary, step, i) {
  if (summary.data.length === 1) return "number";
  return (step + i) % 2 ? "sign" : "shape";
}

// The question in place of a contribution.
function questionOf(op, step, grad, i) {
  const key = `${state.step}.${i}`;
  const answer = answers.get(key) ?? { tries: 0 };
  const summary = data.pool[grad.contribution];
  const kind = kindOfQuestion(summary, state.step, i);
  const name = tensorLabel(grad.tensor);
  const at = `${data.tensors[grad.tensor].gradient}[${unravel(largest(summary), summary.shape).join(", ")}]`;
  const asks = {
    number: `What goes on to ${name}? A number:`,
    sign: `Its largest element is ${at}. Is it positive or negative? Write + or -:`,
    shape: `Which shape has what goes on to ${name}? As in 2, 3:`,
  }[kind];
  const input = element("input", { id: `answer-${i}`, autocomplete: "off", "aria-describedby": `hint-${i}` });
  const check = (event) => {
    event.preventDefault();
    const found = judgeAnswer(input.value, kind, summary, wrongWays(op, step, grad, i));
    answers.set(key, { tries: answer.tries + 1, first: answer.first ?? found.right, right: found.right, hint: found.hint });
    draw();
    byId(`answer-${i}`)?.focus();
  };
  const give = () => {
    answers.set(key, { ...answer, first: answer.first ?? false, open: true });
    draw();
  };
  return element(
    "form",
    { class: "question", onsubmit: check },
    element("label", { for: `answer-${i}` }, asks),
    input,
    element("button", {}, "Check"),
    answer.tries > 1 ? element("button", { type: "button", onclick: give }, "Show it") : null,
    element("span", { id: `hint-${i}`, class: "awaited", role: "status" }, answer.hint ?? ""),
  );
}

// Numbers that come out where a factor is forgotten, each with what to say.
function wrongWays(op, step, grad, i) {
  const summary = data.pool[grad.contribution];
  const ways = [];
  const single = (id) => (id === null || id === undefined ? null : data.pool[id].data);
  const right = summary.data[0];
  if (summary.data.length !== 1 || typeof right !== "number") return ways;
  const [dz, slope] = [single(step.dz), grad.local ? single(grad.local.value) : null];
  if (dz?.length === 1) ways.push([dz[0], "That is dz as it arrives: it is still to be multiplied by how fast the result moves with this input."]);
  if (slope?.length === 1) ways.push([slope[0], "That is how fast the result moves with this input: it is still to be multiplied by dz."]);
  ways.push([-right, "The size is right, the sign is not."]);
  if (single(grad.after)?.length === 1 && grad.before !== null)
    ways.push([single(grad.after)[0], "That is the sum with what was there before: asked is what this step adds."]);
  step.grads.forEach((other, j) => {
    const data_ = other && j !== i ? single(other.contribution) : null;
    if (data_?.length === 1) ways.push([data_[0], `That is what goes to ${tensorLabel(other.tensor)}: the factor is the other input.`]);
  });
  return ways;
}

// {right, hint} for an answer as it was typed.
function judgeAnswer(text, kind, summary, ways) {
  const typed = text.trim().replace("−", "-").replace(",", kind === "number" ? "." : ",");
  if (kind === "shape") {
    const shape = (typed.match(/\d+/g) ?? []).map(Number);
    const right = shape.join() === summary.shape.join() && (shape.length > 0 || summary.shape.length === 0);
    return { right, hint: right ? "" : "Not that: a gradient has the shape of what it is the gradient of." };
  }
  if (kind === "sign") {
    const value = summary.data[largest(summary)];
    const right = typed[0] === (value < 0 ? "-" : "+");
    return { right, hint: right ? "" : "The other one: think of what happens to the loss if this element grows." };
  }
  const [value, expected] = [typed === "" ? NaN : Number(typed), summary.data[0]];
  if (Number.isNaN(value) && expected !== "nan") return { right: false, hint: "A number, such as 0.5" };
  const near = (a, b) => typeof b === "number" && Math.abs(a - b) <= 0.005 * Math.abs(b) + 1e-9;
  if (near(value, expected) || typed === String(expected)) return { right: true, hint: "" };
  return { right: false, hint: ways.find(([wrong]) => near(value, wrong))?.[1] ?? "Not that: multiply dz by how fast the result moves with this input." };
}

// 32 bits of a text: Fowler, Noll and Vo.
function fnv1a(text) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

// Which answers were right at the first try, with a check: a teacher runs --quiz-code on it.
function quizCode() {
  const bits = questions.map((key) => (answers.get(key)?.first ? "1" : "0")).join("");
  const packed = (bits.match(/.{1,4}/g) ?? []).map((four) => parseInt(four.padEnd(4, "0"), 2).toString(16)).join("");
  return `${packed}-${fnv1a(`${data.quiz}:${packed}`)}`;
}

function quizStatus() {
  const done = questions.filter((key) => answers.has(key) && (answers.get(key).right || answers.get(key).open)).length;
  const right = questions.filter((key) => answers.get(key)?.first).length;
  return element(
    "p",
    { class: "note", id: "quiz" },
    `${done} of ${questions.length} answered, ${right} right at the first try. `,
    "Your code: ",
    tag("code", quizCode()),
  );
}

// Find the bug: a faulty run alone; the first wrong step is to be pointed at.
const hunted = () => data.bugs.filter((bug) => bug.first !== null && bug.steps.length);

function huntSection() {
  const bugs = hunted();
  if (!bugs.length || data.quiz) return null;
  const start = () => {
    state.hunt = { bug: bugs[Math.floor(Math.random() * bugs.length)].name, said: "", found: false };
    goTo(1, "bugs");
  };
  return tag("p", element("button", { id: "hunt", onclick: start }, "Find the bug"), quiet(" A run with a mistake in it, one of those that bite here. Which step is the first wrong one?"));
}

function huntPanel() {
  const { hunt } = state;
  const bug = data.bugs.find((b) => b.name === hunt.bug);
  const stop = () => {
    state.hunt = null;
    draw();
  };
  const turn = Math.min(Math.max(state.step, 1), bug.order.length) - 1;
  const step = turn < bug.first ? data.steps[stepOfOp.get(bug.order[turn]) - 1] : bug.steps[turn - bug.first];
  const guess = () => {
    hunt.found = turn === bug.first;
    hunt.said = hunt.found
      ? ""
      : turn < bug.first
        ? "Here the numbers are still right: finite differences agree with them. Look further on."
        : "Here the numbers are wrong, but not for the first time: what arrives is wrong already. Look further back.";
    draw();
  };
  const parts = [
    tag("h2", "Find the bug"),
    tag("p", "This run has a mistake in it. Step on until you see it; the list at the left shows the right run's steps only by name."),
  ];
  if (!step) parts.push(tag("p.note", `The faulty run has ${bug.order.length} steps; the page keeps the first ${bug.first + bug.steps.length}.`));
  else {
    const op = data.ops[step.op];
    parts.push(
      tag("h2", `Step ${turn + 1} of ${bug.order.length}: ${op.op}${inWhich(op.module)}`),
      source(op.source),
      formulas(op, new Set()),
      figures(array(`dz, the gradient of ${tensorLabel(op.output)}`, data.pool[step.dz])),
      ...step.grads.map((grad) => grad && figures(
        array(`contribution to ${tensorLabel(grad.tensor)}`, data.pool[grad.contribution]),
        array("its gradient before", data.pool[grad.before]),
        array("and after", data.pool[grad.after]),
      )),
      forwardSection(op),
    );
  }
  const buttons = [element("button", { onclick: stop }, "Give up")];
  if (step && !hunt.found) buttons.unshift(element("button", { id: "guess", class: "main", onclick: guess }, "This is the first wrong step"));
  const verdict = element("p", { role: "status", class: hunt.found ? "good" : "awaited" }, hunt.found ? `Found: ${bug.says}.` : hunt.said);
  parts.splice(2, 0, tag("p", ...buttons), verdict);
  if (hunt.found && bug.judge) parts.splice(4, 0, judge(bug.judge));
  return parts;
}
