// The page of a training run: curves, and one slider through what was recorded at each evaluation.

const run = readData();
const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Round numbers from low to high, about as many as wanted.
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
  return found;
}

// Curves over steps: lines are {points: [[step, value]], name, look, dots}; levels are {name: value}.
function chart(place, width, lines, levels = {}) {
  const height = 240, left = 48, right = 8, top = 8, bottom = 24;
  const points = lines.flatMap((line) => line.points).filter(([, value]) => value !== null);
  const values = [...points.map(([, value]) => value), ...Object.values(levels).filter((value) => value !== null)];
  if (!points.length) return place.append(element("p", { class: "quiet" }, "nothing recorded")), () => {};
  const last = Math.max(1, ...points.map(([step]) => step));
  const low = Math.min(...values, lines[0].zero ? 0 : Infinity), high = Math.max(...values);
  const span = high - low || Math.abs(high) || 1;
  const x = (step) => left + (step / last) * (width - left - right);
  const y = (value) => top + (1 - (value - low + span * 0.03) / (span * 1.06)) * (height - top - bottom);
  const title = lines.map((line) => line.name).join(" and ");
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over ${last} steps, from ${format(low)} to ${format(high)}` });
  for (const value of ticks(low, high, 5)) {
    svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, format(Number(value.toPrecision(6)))));
  }
  for (const step of ticks(0, last, Math.max(2, Math.floor(width / 110)))) svg.append(shape("text", { x: x(step), y: height - 6, "text-anchor": step === 0 ? "start" : "middle" }, step.toLocaleString("en")));
  for (const [name, value] of Object.entries(levels)) {
    if (value === null) continue;
    svg.append(shape("line", { class: "baseline", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: width - right, y: y(value) - 4, "text-anchor": "end" }, `guessing by ${name}, ${format(value)}`));
  }
  for (const line of lines) {
    const known = line.points.filter(([, value]) => value !== null);
    svg.append(shape("polyline", { class: `curve ${line.look}`, points: known.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));
    if (line.dots) for (const [step, value] of known) svg.append(shape("circle", { class: "dot", cx: x(step), cy: y(value), r: 3 }));
  }
  const now = shape("line", { class: "now", y1: top, y2: height - bottom });
  svg.append(now);
  place.append(svg);
  return (step) => { now.setAttribute("x1", x(step)); now.setAttribute("x2", x(step)); };
}

// Exponential smoothing over about a thirtieth of the run, started without a bias to the first value.
function smooth(points) {
  const keep = 1 - 1 / Math.max(4, points.length / 30);
  let sum = 0, weight = 0;
  return points.filter(([, value]) => value !== null).map(([step, value]) => {
    sum = keep * sum + value;
    weight = keep * weight + 1;
    return [step, sum / weight];
  });
}

const rows = run.rows;
const column = (name) => rows.map((row) => [row.step, row[name]]);
const byId = (id) => document.getElementById(id);

byId("title").textContent = run.title;
const final = rows[rows.length - 1];
if (final) {
  const speed = final.tokens_per_second ? `, ${Math.round(final.tokens_per_second).toLocaleString("en")} tokens per second` : "";
  byId("summary").textContent = `${final.step.toLocaleString("en")} steps; loss ${format(final.loss)}${final.val_loss === null ? "" : `, validation ${format(final.val_loss)}`}${speed}`;
}
const movers = [
  chart(byId("loss"), 640, [
    { points: run.losses, name: "training loss", look: "train" },
    { points: smooth(run.losses), name: "training loss, smoothed", look: "smooth" },
    { points: column("val_loss"), name: "validation loss", look: "validation", dots: true },
  ], run.baselines),
  chart(byId("lr"), 320, [{ points: column("lr"), name: "learning rate", look: "smooth", zero: true }]),
  chart(byId("grad"), 320, [{ points: column("grad_norm"), name: "gradient norm", look: "smooth", zero: true }]),
];
const legend = element("div", { class: "legend" });
for (const [name, key] of [["each step", "var(--quiet)"], ["smoothed", "var(--accent)"], ["validation", "rgb(var(--positive))"]]) legend.append(element("span", { style: `--key: ${key}` }, name));
byId("loss").append(legend);
for (const [name, value] of Object.entries(run.settings)) byId("settings").append(element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)));

function drawMap(weights) {
  const canvas = element("canvas", { width: weights[0].length, height: weights.length });
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  const brush = canvas.getContext("2d");
  weights.forEach((row, i) => row.forEach((value, j) => {
    brush.globalAlpha = Math.min(1, value);
    brush.fillStyle = ink;
    brush.fillRect(j, i, 1, 1);
  }));
  return canvas;
}

const visible = (text) => text.replace(/ /g, "\u2423").replace(/\n/g, "\u23ce").replace(/\t/g, "\u21e5");

function showAt(index) {
  const row = rows[index];
  byId("now").textContent = `step ${row.step.toLocaleString("en")}`;
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
  for (const layer of row.attention) layer.weights.forEach((weights, head) => {
    const map = drawMap(weights);
    const name = `${layer.path}, head ${head}`;
    map.setAttribute("role", "img");
    map.setAttribute("aria-label", `attention weights of ${name}`);
    const reading = element("div", { class: "quiet" }, "\u00a0");
    map.addEventListener("mousemove", (event) => {
      const size = map.getBoundingClientRect();
      const i = Math.min(weights.length - 1, Math.floor(((event.clientY - size.top) / size.height) * weights.length));
      const j = Math.min(weights[0].length - 1, Math.floor(((event.clientX - size.left) / size.width) * weights[0].length));
      reading.textContent = `${visible(layer.tokens[i])} looks at ${visible(layer.tokens[j])}: ${format(weights[i][j])}`;
    });
    byId("attention").append(element("figure", {}, element("figcaption", {}, name), map, reading));
  });
  const any = row.attention.length > 0;
  byId("attention-title").hidden = byId("attention-note").hidden = !any;
}

const slider = byId("when");
if (rows.length) {
  slider.max = rows.length - 1;
  slider.value = rows.length - 1;
  slider.addEventListener("input", () => showAt(Number(slider.value)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showAt(Number(slider.value)));
  showAt(rows.length - 1);
} else {
  slider.disabled = true;
}
