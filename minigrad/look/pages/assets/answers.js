// What the model answers beside its attention: the next tokens, what each layer would have said, what a head is worth.

const percentOf = (p) => `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`;
const signed = (x) => `${x < 0 ? "−" : "+"}${format(Number(Math.abs(x).toPrecision(2)))}`;

// Tokens with their probabilities, as a list of bars.
function guesses(pairs, target) {
  return element("ol", { class: "guesses" }, ...pairs.map(([label, p]) => element("li", { class: label === target ? "hit" : null },
    element("span", { class: "token" }, label), element("i", { style: `width: ${(6 * p).toFixed(3)}rem`, "aria-hidden": "true" }), percentOf(p))));
}

// Under the text: what the model expects at a token, what was right, and how each layer would have answered.
function answersAt(answers, label, at) {
  if (!answers) return [];
  const parts = [element("p", { class: "quiet loss" }, `Loss ${format(answers.loss)}: ${answers.what}.`)];
  const row = answers.rows[at];
  if (!row) return parts;
  const after = answers.following ? "comes after" : "stands at";
  const right = row.target === null ? null : element("span", {}, ` ${answers.following ? "There follows" : "Right is"} `, element("b", { class: "token" }, row.target), `, which has ${percentOf(row.p)}: loss ${format(row.loss)}.`);
  parts.push(element("div", { class: "expected" }, element("span", {}, `What it expects ${after} `, element("b", { class: "token" }, label), ` (${at}):`), guesses(row.top, row.target), right));
  if (answers.lens.length) {
    const rows = answers.lens.map((layer) => element("tr", {}, element("th", { scope: "row" }, layer.path),
      element("td", {}, guesses(layer.rows[at].top, row.target)), element("td", {}, row.target === null ? "" : percentOf(layer.rows[at].p))));
    parts.push(element("details", { id: "lens" }, element("summary", {}, "What each layer would have answered (logit lens)"),
      element("p", { class: "quiet" }, "The state after a block goes straight to the end of the model, past the blocks that follow."),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Logit lens" },
        element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "after"), element("th", { scope: "col" }, "expects"), element("th", { scope: "col" }, row.target === null ? "" : "right one"))), element("tbody", {}, ...rows)))));
  }
  return parts;
}

// "with this head off: loss +0.12"
function worth(off) {
  return off === null || off === undefined ? null : element("span", { class: "worth" }, `with this head off: loss ${signed(off)}`);
}

// A token with a story: the largest weight of a head, among many that it could give, on a place that is no usual one (not
// the first token, not itself nor the one before), as long as the loss depends on it. Heads are {T, S, weights, self};
// matters(i) says which queries count.
function storyOf(heads, last, matters) {
  let best = { worth: 0, query: last };
  heads.forEach((one, head) => {
    for (let i = 2; i <= Math.min(last, one.T - 1); i += 1) {
      if (!matters(i)) continue;
      const row = one.weights.subarray(i * one.S, (i + 1) * one.S);
      const choice = Math.log(row.reduce((count, weight) => count + (weight > 0), 0) || 1);
      row.forEach((weight, key) => {
        const usual = one.self && (key === 0 || key === i || key === i - 1);
        if (!usual && weight >= 0.3 && weight * choice > best.worth) best = { worth: weight * choice, query: i, weight, head, key };
      });
    }
  });
  return best.worth ? best : null;
}
