// Right and wrong side by side: a planted bug, its first wrong step, and the judge.

// A planted bug: right and wrong side by side.
function bugsPanel() {
  const heading = tag("h2", "Right and wrong side by side");
  if (!data.bugs.length) return [heading, tag("p.note", data.note)];
  if (data.quiz) return [heading, tag("p.note", "Not in a quiz.")];
  if (state.hunt) return huntPanel();
  const choose = (name) => {
    state.bug = name;
    if (chosenBug()?.parts) goTo(chosenBug().parts, "bugs");
    else draw();
  };
  const bites = (bug) => bug.first !== null; // those come first
  const sorted = [...data.bugs].sort((a, b) => Number(bites(b)) - Number(bites(a)));
  const named = sorted.map((bug) => [bug.name, bites(bug) ? bug.name : `${bug.name} (no difference here)`]);
  const select = chooser("bug", [["", "none"], ...named], state.bug, choose);
  const parts = [heading, huntSection(), tag("div.picker", tag("label", "Show a bug: ", select))];
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
    line("with the bug", found.wrong, found.differs ? "bad" : ""),
  ];
  const [right, wrong] = found.shapes.map((shape) => (shape.length ? `(${shape.join(", ")})` : "of a single number"));
  const made = element(
    "figure",
    {},
    tag("figcaption", `The judge: how the loss really changes with ${where}`),
    tag("table.numbers judge", tag("tbody", ...lines)),
  );
  if (right !== wrong) {
    const same = found.differs ? "" : "The number is the same; what is wrong is the shape. ";
    made.append(tag("p.bad", `${same}With the bug the gradient has the shape ${wrong}, right is ${right}.`));
  }
  return made;
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

