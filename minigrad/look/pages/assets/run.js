// The page of a training run: curves of every step, and one slider through what was recorded at each evaluation.

const run = readData();
const rows = run.rows;
const byId = (id) => document.getElementById(id);
const measured = (name) => rows.map((row) => [row.step, row[name]]);

byId("title").textContent = run.title;
const final = rows[rows.length - 1];
if (final) {
  const speed = final.tokens_per_second ? `, ${Math.round(final.tokens_per_second).toLocaleString("en")} tokens per second with evaluations` : "";
  byId("summary").textContent = `${run.steps.toLocaleString("en")} steps; loss ${format(final.loss)}${final.val_loss === null ? "" : `, validation ${format(final.val_loss)}`}${speed}`;
}

const REACH = 1 / 15; // of the run, on either side of a smoothed point
const each = run.curves.loss.length > 1 ? run.curves.loss[1][0] - run.curves.loss[0][0] : 1; // steps from point to point
const one = (name, values, look) => ({ name, points: values, look, gap: each * 1.5 });
const validated = measured("val_loss").some(([, value]) => value !== null);
const wide = Math.max(3, Math.round(run.curves.loss.length * REACH)) * 2 + 1;
byId("measured").textContent = [
  each > 1 ? `Each point of a curve is the mean of ${Math.round(each)} steps.` : "",
  `Smoothed: a straight line is fitted to the ${Math.round(wide * each).toLocaleString("en")} steps around each, near ones counting more.`,
  validated ? "Validation: text it does not train on, dropout off. It is measured at the points; dashes only join them." : "",
].join(" ");
byId("beat").hidden = !Object.keys(run.baselines).length;
for (const [name, look] of [["each step", "train"], ["smoothed", "smooth"], ...(validated ? [["validation", "validation"]] : [])]) {
  byId("key").append(element("span", { class: look }, name));
}

let logarithmic = false;
let movers = [];
function drawCharts() {
  const { loss, lr, grad_norm, seconds } = run.curves;
  const draw = (id, options) => chart(byId(id), { width: Math.max(240, byId(id).clientWidth), steps: run.steps, logarithmic, ...options });
  movers = [
    draw("loss", {
      height: 300,
      levels: run.baselines,
      lines: [one("loss", loss, "train"), one("smoothed", smooth(loss, REACH), "smooth"), ...(validated ? [{ name: "validation", points: measured("val_loss"), look: "validation", dots: true, gap: 1 }] : [])],
    }),
    draw("lr", { height: 170, zero: true, lines: [one("learning rate", lr, "smooth")] }),
    draw("grad", { height: 170, zero: true, lines: [one("norm", grad_norm, "train"), one("smoothed", smooth(grad_norm, REACH), "smooth")] }),
    draw("seconds", { height: 170, zero: true, unit: " ms", lines: [one("time", seconds.map(([step, value]) => [step, value === null ? null : 1000 * value]), "smooth")] }),
  ];
}

byId("scale").addEventListener("click", () => {
  logarithmic = !logarithmic;
  byId("scale").setAttribute("aria-pressed", String(logarithmic));
  drawAgain();
});
let drawn = 0;
addEventListener("resize", () => { if (byId("loss").clientWidth !== drawn) drawAgain(); });
function drawAgain() {
  drawn = byId("loss").clientWidth;
  drawCharts();
  const at = rows[Number(byId("when").value)];
  movers.forEach((move) => move(at ? at.step : run.steps));
}

for (const [name, value] of Object.entries(run.settings)) byId("settings").append(element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)));

// The weights of a head, a byte each, as rows.
function weightsOf(text, width) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return Array.from({ length: bytes.length / width }, (_, i) => Array.from(bytes.subarray(i * width, (i + 1) * width), (byte) => byte / 255));
}

function drawMap(weights) {
  const canvas = element("canvas", { width: weights[0].length, height: weights.length });
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  const brush = canvas.getContext("2d");
  brush.fillStyle = ink;
  weights.forEach((row, i) => row.forEach((value, j) => {
    brush.globalAlpha = value;
    brush.fillRect(j, i, 1, 1);
  }));
  return canvas;
}

const visible = (text) => text.replace(/ /g, "\u2423").replace(/\n/g, "\u23ce").replace(/\t/g, "\u21e5");

function showAt(index) {
  const row = rows[index];
  const step = `step ${row.step.toLocaleString("en")}`;
  byId("now").textContent = row.val_loss === null ? step : `${step}, validation ${format(row.val_loss)}`;
  byId("when").setAttribute("aria-valuetext", `step ${row.step}`);
  movers.forEach((move) => move(row.step));
  byId("sample").textContent = row.sample ?? "no sample was recorded";
  const table = element("table", { class: "numbers" }, element("tr", {}, element("th", { scope: "col" }, "module"), element("th", { scope: "col" }, "weights"), element("th", { scope: "col" }, "gradient")));
  const largest = Math.max(...Object.values(row.norms).map(([, gradient]) => gradient ?? 0));
  for (const [path, [weight, gradient]] of Object.entries(row.norms)) {
    table.append(element("tr", {}, element("th", { scope: "row" }, path || "the model itself"), element("td", {}, format(weight)), element("td", { style: `background: ${colour(gradient, largest)}` }, format(gradient))));
  }
  byId("norms").replaceChildren(table);
  byId("attention").replaceChildren();
  for (const layer of row.attention) layer.weights.forEach((text, head) => {
    const weights = weightsOf(text, layer.tokens.length);
    const map = drawMap(weights);
    const name = `${layer.path}, head ${head}`;
    map.setAttribute("role", "img");
    map.setAttribute("aria-label", `attention weights of ${name}`);
    const reading = element("div", { class: "quiet" }, "\u00a0");
    map.addEventListener("mousemove", (event) => {
      const size = map.getBoundingClientRect();
      const i = Math.min(weights.length - 1, Math.floor(((event.clientY - size.top) / size.height) * weights.length));
      const j = Math.min(weights[0].length - 1, Math.floor(((event.clientX - size.left) / size.width) * weights[0].length));
      reading.textContent = `${visible(layer.tokens[i])} looks at ${visible(layer.tokens[j])}: ${(100 * weights[i][j]).toFixed(1)} %`;
    });
    byId("attention").append(element("figure", {}, element("figcaption", {}, name), map, reading));
  });
  const any = row.attention.length > 0;
  byId("attention-title").hidden = byId("attention-note").hidden = !any;
}

byId("flow-section").hidden = !run.flow;
if (run.flow) {
  const several = [
    ["Gradient of each matrix, before clipping", run.flow.gradient],
    ["Update to weight, of some rows", run.flow.update],
    ["Units at work in some rows of the batch", run.flow.units],
    ["Entropy of attention, per head, in nats", run.flow.entropy],
  ];
  byId("flow").append(...several.map(([caption, lines]) => curves(caption, lines, run.flow.stride)).filter((figure) => figure !== null));
  byId("flow-note").textContent = "Usual is an update of about a thousandth of the weight. A head whose entropy is near 0 looks at one place; at the logarithm of the places it looks at all alike.";
}

const slider = byId("when");
if (rows.length) {
  slider.max = rows.length - 1;
  slider.value = rows.length - 1;
  slider.addEventListener("input", () => showAt(Number(slider.value)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showAt(Number(slider.value)));
  drawAgain();
  showAt(rows.length - 1);
} else {
  slider.disabled = true;
  drawAgain();
}
