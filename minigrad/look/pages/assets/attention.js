// The attention workbench: one state (group, layer, head, query, key), and functions that draw it.
const data = readData();
const byId = (id) => document.getElementById(id);
const state = { group: 0, layer: null, head: 0, query: 0, key: 0, words: true, chosen: false, hover: null, geometry: null, more: [], scaled: false, sorted: false };
const SVG = "http://www.w3.org/2000/svg";

// Arrays lie in the pool as base64: float32, or bytes for masks. Decoded when first asked for.
const decoded = new Map();
function array(number, type = Float32Array) {
  if (number === null || number === undefined) return null;
  if (!decoded.has(number)) decoded.set(number, new type(Uint8Array.from(atob(data.pool[number]), (c) => c.charCodeAt(0)).buffer));
  return decoded.get(number);
}

const groups = [...new Set(data.layers.map((layer) => layer.group))];
const layersOf = (group) => data.layers.map((_, n) => n).filter((n) => data.layers[n].group === groups[group]);

// Everything of a head, with T queries and S keys as far as they are shown.
function headOf(layerNumber, head) {
  const layer = data.layers[layerNumber];
  const held = layer.heads[head];
  const [T, S] = layer.totals.map((n) => Math.min(n, data.limit));
  const one = { layer, T, S, D: layer.sizes[0], E: layer.sizes[1], scale: layer.scale, character: held.character };
  for (const name of ["query", "key", "value", "output", "weights", "bias", "gradient", "exact"]) one[name] = array(held[name]);
  one.allowed = array(held.allowed, Uint8Array);
  one.rest = held.rest && { scores: array(held.rest.scores), weights: array(held.rest.weights), output: array(held.rest.output) };
  one.rows = data.sequences[layer.rows];
  one.columns = data.sequences[layer.columns];
  return one;
}

const rowOf = (values, i, width) => Array.from(values.subarray(i * width, (i + 1) * width));
const sum = (values) => values.reduce((a, b) => a + b, 0);

// One score, step by step.
function scoreOf(one, i, j) {
  const q = rowOf(one.query, i, one.D);
  const k = rowOf(one.key, j, one.D);
  const products = q.map((x, d) => x * k[d]);
  const dot = sum(products);
  const bias = one.bias ? one.bias[i * one.S + j] : 0;
  const allowed = Boolean(one.allowed[i * one.S + j]);
  return { q, k, products, dot, scaled: dot * one.scale, bias, allowed, score: allowed ? dot * one.scale + bias : -Infinity };
}

// The softmax over a row: exp(score - largest) of each key, their sum, the weights; rest is what lies beyond the keys shown.
function softmaxOf(one, i) {
  const scores = Array.from({ length: one.S }, (_, j) => scoreOf(one, i, j).score);
  const beyond = one.rest ? one.rest.scores[i] : -Infinity;
  const largest = Math.max(beyond, ...scores);
  const shift = Number.isFinite(largest) ? largest : 0;
  const exps = scores.map((score) => Math.exp(score - shift));
  const rest = Math.exp(beyond - shift);
  const total = sum(exps) + rest;
  return { scores, largest, exps, rest, total, weights: exps.map((e) => (total ? e / total : 0)) };
}

// Colours of the maps: as strong as the square root, so that small weights are seen.
function strength(value, scale) {
  return scale > 0 ? Math.sqrt(Math.min(1, Math.abs(value) / scale)) : 0;
}
function shade(value, scale) {
  return `rgb(var(${value < 0 ? "--negative" : "--positive"}) / ${strength(value, scale).toFixed(3)})`;
}
const plural = (n, name) => `${n} ${name}${n === 1 ? "" : "s"}`;
const percent = (weight) => `${(100 * weight).toFixed(1)} %`;
const largestOf = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const blank = (label) => /^[␣⏎⇥]$|^⟨/.test(label);
const place = (sequence, i) => `${sequence.labels[i]} (${i})`;

function svgElement(tag, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

// The text, and what the chosen token attends to in it.

// The weights of the chosen query: of the open head, or the mean of all heads of the group.
function readWeights() {
  const layers = state.layer === null ? layersOf(state.group) : [state.layer];
  const rows = [];
  for (const n of layers) {
    const heads = state.layer === null ? data.layers[n].heads.map((_, h) => h) : [state.head];
    for (const h of heads) {
      const one = headOf(n, h);
      for (const query of queries()) rows.push(rowOf(one.weights, Math.min(query, one.T - 1), one.S));
    }
  }
  return rows[0].map((_, j) => sum(rows.map((row) => row[j] ?? 0)) / rows.length);
}

// The chosen tokens: one, or several.
const queries = () => [...new Set([state.query, ...state.more])].sort((a, b) => a - b);

// The parts that weights are summed over: words, or single tokens.
function partsOf(sequence) {
  if (!state.words) return sequence.labels.map((label, j) => ({ label, at: [j] }));
  const parts = [];
  sequence.words.forEach((word, j) => {
    if (!parts[word]) parts[word] = { label: "", at: [] };
    parts[word].label += sequence.labels[j];
    parts[word].at.push(j);
  });
  return parts.filter(Boolean);
}

function drawText() {
  const first = data.layers[state.layer ?? layersOf(state.group)[0]];
  const rows = data.sequences[first.rows];
  const columns = data.sequences[first.columns];
  const weights = readWeights();
  const parts = partsOf(columns).map((part) => ({ ...part, weight: sum(part.at.map((j) => weights[j])) }));
  const colours = [];
  const most = state.scaled ? largestOf(parts.map((part) => part.weight)) : 1;
  for (const part of parts) for (const j of part.at) colours[j] = colour(Math.sign(part.weight) * strength(part.weight, most), 1);
  const focused = document.activeElement?.dataset?.token;
  const strips = [];
  if (first.cross) strips.push(strip(rows, rows.name || "queries", null, true), strip(columns, columns.name || "keys", colours, false));
  else strips.push(strip(rows, rows.name, colours, true));
  const best = [...parts].sort((a, b) => b.weight - a.weight).slice(0, 5).filter((part) => part.weight >= 0.005);
  const named = (part) => (parts.filter((other) => other.label === part.label).length > 1 ? `${part.label} (${part.at[0]})` : part.label);
  const whose = state.layer === null ? "the mean of these heads" : "this head";
  const open = byId("lens")?.open;
  const several = queries().map((i) => element("span", {}, element("b", {}, rows.labels[i]), ` at ${i} `));
  const here = data.answers && data.answers.rows.length === rows.total && (data.answers.following || !first.cross) ? answersAt(data.answers, rows.labels[state.query], state.query) : answersAt(data.answers, "", -1);
  byId("text").replaceChildren(
    ...strips,
    element("div", { class: "reading" },
      element("span", {}, ...several, `${several.length > 1 ? "attend to, on average" : "attends to"}, in ${whose}:`),
      element("ol", {}, ...best.map((part) => element("li", { style: `background: ${colour(strength(part.weight, 1), 1)}` }, `${named(part)} ${percent(part.weight)}`))),
      element("button", { id: "words", class: "screen-only", "aria-pressed": String(state.words), title: "Sum the weights of a word's tokens (w)", onclick: toggleWords }, "By word"),
      element("button", { id: "rowscale", class: "screen-only", "aria-pressed": String(state.scaled), title: "The strongest weight of each row in full colour (r)", onclick: toggleScale }, "Scale to row"),
      element("span", { class: "quiet screen-only" }, "Shift and click, or Shift and Enter: several tokens"),
    ),
    element("div", { id: "answers" }, ...here),
  );
  if (open && byId("lens")) byId("lens").open = true;
  if (focused !== undefined) document.querySelector(`[data-token="${state.query}"]`)?.focus();
}

function strip(sequence, name, colours, choosing) {
  const running = element("div", { class: "running", role: "group", "aria-label": choosing ? "Choose a token" : "What it attends to" });
  const joint = (i) => /^\d$/.test(sequence.labels[i]) && /^\d$/.test(sequence.labels[i - 1]) && sequence.words[i] !== sequence.words[i - 1];
  const apart = sequence.labels.some((label, i) => joint(i) || ([...label].length > 1 && !/^[⟨[].*[⟩\]]$/.test(label)));
  sequence.labels.forEach((label, i) => {
    const chosen = choosing && queries().includes(i);
    const classes = `token${blank(label) ? " blank" : ""}${apart ? " apart" : ""}${chosen ? " chosen" : ""}`;
    const style = colours && colours[i] ? `background: ${colours[i]}` : null;
    running.append(choosing
      ? element("button", { class: classes, style, "data-token": i, tabindex: i === state.query ? 0 : -1, "aria-pressed": String(chosen), title: `token ${i}`, onclick: (event) => (event.shiftKey ? another(i) : chooseQuery(i)) }, label)
      : element("span", { class: classes, style }, label));
    if (label === "⏎") running.append(element("br"));
  });
  return element("div", { class: "strip" }, name ? element("span", { class: "name quiet" }, name) : null, running);
}

function chooseQuery(i) {
  state.chosen = true;
  state.more = [];
  select(i, state.layer === null ? null : bestKey(headOf(state.layer, state.head), i));
}

// One more token, or one less.
function another(i) {
  state.chosen = true;
  if (queries().length > 1 && queries().includes(i)) {
    const left = queries().filter((query) => query !== i);
    state.query = left[0];
    state.more = left.slice(1);
  } else {
    state.more = [...queries()];
    state.query = i;
  }
  draw();
}

function toggleScale() {
  state.scaled = !state.scaled;
  draw();
  byId("rowscale").focus();
}

function toggleWords() {
  state.words = !state.words;
  drawText();
  byId("words").focus();
}

// All heads of the group as thumbnails, a row for each layer.

function drawOverview() {
  const view = element("div", { class: "heads" });
  for (const n of layersOf(state.group)) {
    const layer = data.layers[n];
    const row = element("div", { class: "row" });
    const growth = (h) => data.answers?.off?.[n]?.[h] ?? 0;
    const order = layer.heads.map((_, h) => h).sort((a, b) => (state.sorted ? growth(b) - growth(a) : a - b));
    order.forEach((h) => row.append(thumbnail(n, h)));
    view.append(element("section", { "aria-label": `Layer ${n}`, style: `--heads: ${layer.heads.length}` },
      element("h2", {}, `Layer ${n} `, element("code", {}, layer.path), layer.method === "exact" ? null : element("span", { class: "quiet" }, ` ${layer.method}`)), ...odd(layer), row));
  }
  const signed = layersOf(state.group).some((n) => data.layers[n].heads.some((_, h) => headOf(n, h).weights.some((weight) => weight < -1e-6)));
  const sort = data.answers?.off ? element("p", { class: "screen-only" }, element("button", { id: "sorted", "aria-pressed": String(state.sorted), onclick: toggleSort }, "Sort heads by what they are worth"), element("span", { class: "quiet" }, ` With a head off, its output is 0; the loss is ${data.answers.what}, ${format(data.answers.loss)} with all heads.`)) : null;
  byId("view").replaceChildren(...(sort ? [sort] : []), view, legend(1, signed, layersOf(state.group).some((n) => headOf(n, 0).allowed.includes(0))));
}

function toggleSort() {
  state.sorted = !state.sorted;
  draw();
  byId("sorted").focus();
}

// What is odd about a layer that a program wrote itself.
function odd(layer) {
  return layer.notes.map((note) => element("p", { class: "odd" }, `odd: ${note}`));
}

function thumbnail(n, h) {
  const one = headOf(n, h);
  const canvas = element("canvas", { width: one.S, height: one.T, "aria-hidden": "true", style: `--ratio: ${one.S} / ${one.T}` });
  paint(canvas, one);
  const what = element("span", { class: "what" }, ...lookOf(one));
  return element("button", { class: "thumb", "data-layer": n, "data-head": h, onclick: () => open(n, h), onfocus: () => say(`Layer ${n}, head ${h}: ${what.textContent}`) },
    canvas, element("b", {}, `head ${h}`), what, worth(data.answers?.off?.[n]?.[h]));
}

// What stands below a thumbnail: where the chosen token looks, or what the head mostly does.
function lookOf(one) {
  if (!state.chosen) return [one.character];
  const j = bestKey(one, Math.min(state.query, one.T - 1));
  return [element("span", { class: "at" }, `${one.rows.labels[state.query] ?? ""} → ${place(one.columns, j)} `), percent(one.weights[Math.min(state.query, one.T - 1) * one.S + j])];
}

// What stands for the full colour in each row: the same for all, or the row's own largest.
function rowScales(values, one, scale) {
  return Array.from({ length: one.T }, (_, i) => (state.scaled ? largestOf(rowOf(values, i, one.S)) : scale));
}

function paint(canvas, one) {
  const style = getComputedStyle(document.documentElement);
  const [positive, negative] = ["--positive", "--negative"].map((name) => style.getPropertyValue(name).trim().split(/\s+/).map(Number));
  const context = canvas.getContext("2d");
  const image = context.createImageData(one.S, one.T);
  const most = rowScales(one.weights, one, 1);
  one.weights.forEach((weight, at) => {
    const rgb = weight < 0 ? negative : positive;
    image.data.set([...rgb, Math.round(255 * strength(weight, most[Math.floor(at / one.S)]))], 4 * at);
    if (!one.allowed[at]) image.data.set([128, 128, 128, 28], 4 * at);
  });
  context.putImageData(image, 0, 0);
}

// One head: maps, then the arithmetic of the selected pair.

function bestKey(one, i) {
  let best = 0;
  for (let j = 1; j < one.S; j += 1) if (one.weights[i * one.S + j] > one.weights[i * one.S + best]) best = j;
  return best;
}

function open(n, h) {
  state.layer = n;
  state.head = h;
  const one = headOf(n, h);
  state.query = Math.min(state.query, one.T - 1);
  state.key = bestKey(one, state.query);
  draw();
  document.querySelector("svg.map")?.focus({ preventScroll: true });
  sayCell();
}

function drawHead() {
  const one = headOf(state.layer, state.head);
  state.geometry = geometry(one);
  const maps = element("div", { class: "maps" });
  if (one.exact) {
    const difference = one.weights.map((weight, at) => weight - one.exact[at]);
    maps.append(heatMap(one, one.weights, 1, one.layer.cost ? "The weights it implies" : "The weights it uses"), heatMap(one, one.exact, 1, "Exact attention on the same queries and keys"),
      heatMap(one, difference, largestOf(difference), one.layer.cost ? "Implied minus exact" : "Used minus exact"));
  } else maps.append(heatMap(one, one.weights, 1, "Attention weights A: each row sums to 1"));
  if (one.gradient) maps.append(heatMap(one, one.gradient, largestOf(one.gradient), "dL/dA: how the loss would change with each weight"));
  maps.append(element("div", { class: "steps", id: "steps" }));
  byId("view").replaceChildren(
    element("h2", { class: "which" }, `Layer ${state.layer}, head ${state.head} `, element("span", { class: "quiet" }, `${one.layer.path}${one.exact ? `, ${one.layer.method}` : ""}: ${one.character}`)),
    ...odd(one.layer),
    maps,
  );
  drawSelection();
}

// Cells as large as fit twice beside each other, within reason.
function geometry(one) {
  const long = (labels) => Math.max(...labels.map((label) => Math.min([...label].length, 14)));
  const [rows, columns] = [long(one.rows.labels), long(one.columns.labels)];
  const room = byId("view").clientWidth / 2 - 40 - 7 * rows;
  const cell = Math.max(10, Math.min(30, Math.floor(room / one.S), Math.floor(360 / one.T)));
  const font = Math.min(13, cell + 0.5);
  return { cell, font, left: 20 + rows * font * 0.62, top: 18 + (columns > 1 ? columns * font * 0.62 + 4 : font + 4) };
}

const shorten = (label) => ([...label].length > 14 ? `${[...label].slice(0, 13).join("")}…` : label);

function heatMap(one, values, scale, caption) {
  const { cell, font, left, top } = state.geometry;
  const [width, height] = [left + cell * one.S + 3, top + cell * one.T + 3];
  const svg = svgElement("svg", { class: "map", width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "application", "aria-label": `${caption}. ${one.T} queries, ${one.S} keys; the arrow keys move the selected cell.` });
  const hatch = svgElement("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  hatch.append(svgElement("rect", { width: 6, height: 6, style: "fill: var(--panel)" }), svgElement("line", { y2: 6, style: "stroke: var(--line); stroke-width: 1.5" }));
  svg.append(hatch, svgElement("text", { class: "axis", x: left, y: 11 }, "key →"), svgElement("text", { class: "axis", transform: `translate(11 ${top}) rotate(-90)`, "text-anchor": "end" }, "← query"));
  one.rows.labels.slice(0, one.T).forEach((label, i) => svg.append(svgElement("text", { "data-row": i, x: left - 4, y: top + cell * (i + 0.5) + font * 0.34, "font-size": font, "text-anchor": "end" }, shorten(label))));
  one.columns.labels.slice(0, one.S).forEach((label, j) => {
    const x = left + cell * (j + 0.5);
    const where = [...label].length > 1 ? { transform: `translate(${x + font * 0.34} ${top - 4}) rotate(-90)` } : { x, y: top - 4, "text-anchor": "middle" };
    svg.append(svgElement("text", { "data-column": j, "font-size": font, ...where }, shorten(label)));
  });
  const most = rowScales(values, one, scale);
  for (let i = 0; i < one.T; i += 1) {
    for (let j = 0; j < one.S; j += 1) {
      const value = values[i * one.S + j];
      const at = { x: left + cell * j, y: top + cell * i, height: cell };
      if (!one.allowed[i * one.S + j]) {
        let end = j + 1;
        while (end < one.S && !one.allowed[i * one.S + end]) end += 1;
        svg.append(svgElement("rect", { ...at, width: cell * (end - j), class: "outside" }));
        j = end - 1;
      } else if (strength(value, most[i]) >= 0.01) svg.append(svgElement("rect", { ...at, width: cell, style: `fill: ${shade(value, most[i])}` }));
    }
  }
  svg.append(svgElement("rect", { class: "edge", x: left, y: top, width: cell * one.S, height: cell * one.T }));
  for (const name of ["hover", "band", "cell"]) svg.append(svgElement("rect", { class: name, height: cell, width: name === "cell" ? cell : cell * one.S, x: left, y: -100 }));
  const spot = (event) => {
    const box = svg.getBoundingClientRect();
    const [j, i] = [Math.floor((event.clientX - box.left - left) / cell), Math.floor((event.clientY - box.top - top) / cell)];
    return i >= 0 && i < one.T && j < one.S ? { i, j: j < 0 ? null : j } : null; // a row's label is part of its row
  };
  svg.addEventListener("pointermove", (event) => hover(spot(event)));
  svg.addEventListener("pointerleave", () => hover(null));
  svg.addEventListener("click", (event) => {
    const at = spot(event);
    if (at) select(at.i, at.j ?? bestKey(one, at.i));
  });
  svg.addEventListener("focus", sayCell);
  const signed = values.some((value) => value < -1e-6 * scale);
  return element("figure", {}, element("figcaption", {}, caption), element("div", { class: "frame" }, svg), legend(scale, signed, one.allowed.includes(0)));
}

function legend(scale, signed, shut) {
  const shares = signed ? [-1, -0.25, -0.05, 0, 0.05, 0.25, 1] : [0, 0.01, 0.1, 0.25, 0.5, 1];
  const short = (value) => (value && Math.abs(value) < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(2))));
  return element("div", { class: "legend" },
    ...shares.map((share) => element("span", {}, element("i", { style: `background: ${shade(share, 1)}` }), state.scaled ? `${100 * share} %` : short(share * scale))),
    state.scaled ? element("span", {}, "of the row's largest") : null,
    shut ? element("span", {}, element("i", { class: "shut" }), "not allowed") : null);
}

function hover(at) {
  state.hover = at;
  const { cell, top } = state.geometry;
  for (const band of document.querySelectorAll("svg.map .hover")) band.setAttribute("y", at ? top + cell * at.i : -100);
  lightLabels();
  if (at && at.j !== null) byId("said").textContent = cellText(at.i, at.j);
  else if (state.layer !== null) byId("said").textContent = cellText(state.query, state.key);
}

function lightLabels() {
  const at = state.hover ?? { i: state.query, j: state.key };
  for (const text of document.querySelectorAll("svg.map text.lit")) text.classList.remove("lit");
  for (const text of document.querySelectorAll(`svg.map [data-row="${at.i}"], svg.map [data-column="${at.j}"]`)) text.classList.add("lit");
}

function cellText(i, j) {
  const one = headOf(state.layer, state.head);
  const at = i * one.S + j;
  if (!one.allowed[at]) return `${place(one.rows, i)} may not look at ${place(one.columns, j)}`;
  const parts = [`${place(one.rows, i)} → ${place(one.columns, j)}: weight ${percent(one.weights[at])}`];
  if (one.exact) parts.push(`exact ${percent(one.exact[at])}`);
  if (one.gradient) parts.push(`dL/dA ${format(one.gradient[at])}`);
  return parts.join(", ");
}

function say(text) {
  byId("said").textContent = text;
}

function sayCell() {
  if (state.layer !== null) say(cellText(state.query, state.key));
}

function select(i, j) {
  state.query = i;
  if (j !== null) state.key = j;
  drawText();
  if (state.layer === null) {
    for (const thumb of document.querySelectorAll(".thumb")) thumb.querySelector(".what").replaceChildren(...lookOf(headOf(Number(thumb.dataset.layer), Number(thumb.dataset.head))));
    say(`${byId("text").querySelector(".reading span").textContent} ${[...document.querySelectorAll(".reading li")].map((item) => item.textContent).join(", ")}`);
    return;
  }
  drawSelection();
  sayCell();
}

function drawSelection() {
  const one = headOf(state.layer, state.head);
  const { cell, left, top } = state.geometry;
  for (const svg of document.querySelectorAll("svg.map")) {
    svg.querySelector(".band").setAttribute("y", top + cell * state.query);
    const box = svg.querySelector(".cell");
    box.setAttribute("y", top + cell * state.query);
    box.setAttribute("x", left + cell * state.key);
    const frame = svg.parentElement;
    const x = left + cell * state.key;
    if (x < frame.scrollLeft + left || x + cell > frame.scrollLeft + frame.clientWidth) frame.scrollLeft = x - frame.clientWidth / 2;
  }
  lightLabels();
  drawSteps(one);
}

function drawSteps(one) {
  const [i, j] = [state.query, state.key];
  const s = scoreOf(one, i, j);
  const row = softmaxOf(one, i);
  byId("steps").replaceChildren(
    scoreSection(one, s, i, j),
    softmaxSection(one, row, i, j),
    outputSection(one, row, i, j),
    ...(one.layer.cost ? [costSection(one)] : []),
  );
}

const line = (...parts) => element("p", { class: "sum" }, ...parts);
const strong = (value, id = null) => element("b", { id }, format(value));

function scoreSection(one, s, i, j) {
  const tint = (value, scale) => `background: ${colour(value, scale)}`;
  const [most, mostProduct] = [Math.max(largestOf(s.q), largestOf(s.k)), largestOf(s.products)];
  const cells = s.products.map((product, d) => element("li", { "aria-label": `number ${d}: ${format(s.q[d])} times ${format(s.k[d])} is ${format(product)}` },
    element("span", { class: "top" }, String(d)), element("span", { style: tint(s.q[d], most) }, format(s.q[d])),
    element("span", { style: tint(s.k[d], most) }, format(s.k[d])), element("span", { class: "last", style: tint(product, mostProduct) }, format(product))));
  const root = Math.abs(one.scale * Math.sqrt(one.D) - 1) < 1e-6;
  return element("section", {},
    element("h3", {}, `Score: query ${place(one.rows, i)} with key ${place(one.columns, j)}`),
    element("p", { class: "quiet" }, `Each box: q, k and q × k, for each of the ${one.D} numbers of the head.`),
    element("ol", { class: "cells", id: "products" }, ...cells),
    line(`sum of the ${one.D} products = `, strong(s.dot, "dot")),
    line(root ? `÷ √${one.D} = ` : `× scale ${format(one.scale)} = `, strong(s.scaled, "scaled")),
    one.bias ? line(`+ bias ${format(s.bias)} = `, strong(s.scaled + s.bias, "biased")) : null,
    line("mask: ", element("b", { id: "mask", class: s.allowed ? "good" : "bad" }, s.allowed ? "allowed" : "not allowed: the score becomes −∞, the weight 0")),
  );
}

function softmaxSection(one, row, i, j) {
  const weightsShown = one.exact ? "the weights that exact attention would give" : "the weights";
  const cells = row.scores.map((score, key) => {
    const open = Number.isFinite(score);
    return element("button", { class: `${key === j ? "chosen" : ""} ${open ? "" : "shut"}`, "data-key": key, tabindex: -1, title: `key ${key}`, onclick: () => select(i, key) },
      element("span", { class: "top" }, shorten(one.columns.labels[key])), element("span", {}, open ? format(score) : "−∞"),
      element("span", {}, format(row.exps[key])), element("span", { class: "last", style: `background: ${colour(strength(row.weights[key], 1), 1)}` }, format(row.weights[key])));
  });
  return element("section", {},
    element("h3", {}, `Softmax over the row of ${place(one.rows, i)}`),
    element("p", { class: "quiet" }, `Each box: the score s, exp(s − m) with the largest score m, and ${weightsShown}.`),
    element("div", { class: "cells", id: "softmax" }, ...cells),
    line("m = ", strong(row.largest, "largest"), ", sum of exp(s − m) = ", strong(row.total, "total"),
      one.rest ? ` of which ${format(row.rest)} from the keys that are not shown` : ""),
    line(`weight of ${place(one.columns, j)} = ${format(row.exps[j])} / ${format(row.total)} = `, strong(row.weights[j], "weight"),
      one.exact ? (one.layer.cost ? `; ${one.layer.method} implies ` : "; used is ") : null, one.exact ? strong(one.weights[i * one.S + j], "implied") : null),
  );
}

// The rows of the sum that makes the output: the strongest keys one by one, the others together.
function outputSection(one, row, i, j) {
  const weights = one.exact ? rowOf(one.weights, i, one.S) : row.weights;
  const shown = weights.map((_, key) => key).filter((key) => weights[key] !== 0).sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a]));
  const single = shown.slice(0, 8);
  if (shown.includes(j) && !single.includes(j)) single[single.length - 1] = j;
  const weighted = (key) => rowOf(one.value, key, one.E).map((v) => weights[key] * v);
  const together = (keys) => keys.reduce((total, key) => weighted(key).map((x, e) => x + total[e]), new Array(one.E).fill(0));
  const lines = single.map((key) => ({ name: `${format(weights[key])} × v of ${place(one.columns, key)}`, values: weighted(key) }));
  const others = shown.filter((key) => !single.includes(key));
  if (others.length) lines.push({ name: `the other ${others.length} keys, ${format(sum(others.map((key) => weights[key])))} in all`, values: together(others) });
  if (one.rest) lines.push({ name: `keys not shown, ${format(one.rest.weights[i])} in all`, values: rowOf(one.rest.output, i, one.E) });
  const output = new Array(one.E).fill(0).map((_, e) => sum(lines.map((each) => each.values[e])));
  const own = rowOf(one.output, i, one.E);
  const apart = Math.max(...own.map((x, e) => Math.abs(x - output[e])));
  const scale = largestOf(lines.flatMap((each) => each.values));
  const tableRow = (name, values, kind = "") => element("tr", { class: kind }, element("th", { scope: "row" }, name), ...values.map((x) => element("td", { style: `background: ${colour(x, scale)}` }, format(x))));
  return element("section", {},
    element("h3", {}, `Output of ${place(one.rows, i)}: its values, weighted and summed`),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Weighted values" }, element("table", { class: own.length > 16 ? "numbers wide" : "numbers", id: "output" },
      element("thead", {}, element("tr", {}, element("th", {}, ""), ...own.map((_, e) => element("th", { scope: "col" }, String(e))))),
      element("tbody", {}, tableRow(`v of ${place(one.columns, j)}`, rowOf(one.value, j, one.E)), ...lines.map((each) => tableRow(each.name, each.values)), tableRow("sum", output, "total"), tableRow("in the model", own)))),
    element("p", { class: "quiet" }, "Sum and model differ by at most ", element("span", { id: "apart" }, apart.toExponential(1)), "."),
  );
}

function costSection(one) {
  const { here, exact } = one.layer.cost;
  const figure = (n) => n.toLocaleString("en");
  const names = { multiply_adds: "multiply-adds", scratch_bytes: "bytes kept beside inputs and output" };
  return element("section", {},
    element("h3", {}, `What one head costs for ${figure(one.layer.totals[0])} queries and ${figure(one.layer.totals[1])} keys`),
    element("table", { class: "numbers costs", id: "costs" },
      element("thead", {}, element("tr", {}, ...["", one.layer.method, "exact", "ratio"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...Object.keys(here).map((key) => element("tr", {}, element("th", { scope: "row" }, names[key] ?? key),
        ...[figure(here[key]), figure(exact[key]), format(here[key] / exact[key])].map((text) => element("td", {}, text)))))),
    element("p", { class: "quiet" }, "Exact attention grows with queries × keys; the ratio falls as sequences grow."),
  );
}

// The figure, as `figure` in attention.py draws it.

const POSITIVE = [200, 70, 40];
const NEGATIVE = [30, 90, 200];
function paper(weight) {
  const level = Math.floor(255 * Math.min(1, Math.sqrt(Math.abs(weight))) + 0.5);
  return `#${(weight < 0 ? NEGATIVE : POSITIVE).map((c) => Math.floor((255 * (255 - level) + c * level) / 255).toString(16).padStart(2, "0")).join("")}`;
}
const markup = (text) => text.replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" })[c]);
const longest = (labels) => Math.max(...labels.map((label) => [...label].length));

function figure(layerNumber, head) {
  const one = headOf(layerNumber, head);
  const [rows, columns] = [one.rows.labels.slice(0, one.T), one.columns.labels.slice(0, one.S)];
  const title = `${data.title}: ${one.layer.path}, head ${head}`;
  const [cell, font] = [14, 11];
  const wide = longest(columns) > 2;
  const left = 34 + 7 * longest(rows);
  const top = 50 + (wide ? 7 * longest(columns) : 16);
  const width = Math.max(left + cell * columns.length + 14, 14 + 7 * [...title].length, 290);
  const height = top + cell * rows.length + 52;
  const out = [
    `<svg xmlns="${SVG}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="DejaVu Sans, Arial, sans-serif" fill="#111">`,
    `<title>${markup(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="20" font-size="13">${markup(title)}</text>`,
    `<text x="12" y="38" font-size="${font}" fill="#555">rows: queries, columns: keys</text>`,
    `<g font-family="DejaVu Sans Mono, monospace" font-size="${font}">`,
  ];
  rows.forEach((label, i) => out.push(`<text x="${left - 5}" y="${top + cell * i + 11}" text-anchor="end">${markup(label)}</text>`));
  columns.forEach((label, j) => {
    const x = left + cell * j + 7;
    const where = wide ? `transform="translate(${x + 4} ${top - 5}) rotate(-90)"` : `x="${x}" y="${top - 5}" text-anchor="middle"`;
    out.push(`<text ${where}>${markup(label)}</text>`);
  });
  out.push("</g>");
  for (let i = 0; i < one.T; i += 1) {
    for (let j = 0; j < one.S; j += 1) {
      const fill = one.allowed[i * one.S + j] ? paper(one.weights[i * one.S + j]) : "#ececec";
      if (fill !== "#ffffff") out.push(`<rect x="${left + cell * j}" y="${top + cell * i}" width="${cell}" height="${cell}" fill="${fill}"/>`);
    }
  }
  const bottom = top + cell * rows.length;
  out.push(`<rect x="${left}" y="${top}" width="${cell * columns.length}" height="${cell * rows.length}" fill="none" stroke="#999"/>`);
  [0, 1, 10, 25, 50, 100].forEach((percent, n) => {
    const [x, fill] = [12 + 44 * n, paper(percent / 100)];
    out.push(`<rect x="${x}" y="${bottom + 14}" width="44" height="10" fill="${fill}" stroke="#999"/>`);
    out.push(`<text x="${x + 22}" y="${bottom + 36}" font-size="9" text-anchor="middle">${percent} %</text>`);
  });
  return `${[...out, "</svg>"].join("\n")}\n`;
}

function saveFigure() {
  if (state.layer === null) return;
  const address = URL.createObjectURL(new Blob([figure(state.layer, state.head)], { type: "image/svg+xml" }));
  element("a", { href: address, download: `attention-${data.layers[state.layer].path}-head-${state.head}.svg` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
  say("Saved the head as an SVG figure.");
}

// From here on: the whole page, and moving about in it.

function draw() {
  const overview = state.layer === null;
  for (const id of ["all", "before", "after", "up", "down", "export"]) byId(id).disabled = overview;
  document.querySelectorAll('[role="tab"]').forEach((tab, n) => {
    tab.setAttribute("aria-selected", String(n === state.group));
    tab.tabIndex = n === state.group ? 0 : -1;
  });
  drawText();
  if (overview) drawOverview();
  else drawHead();
}

function backToAll() {
  if (state.layer === null) return;
  const { layer, head } = state;
  state.layer = null;
  draw();
  document.querySelector(`.thumb[data-layer="${layer}"][data-head="${head}"]`).focus();
}

function openGroup(n) {
  state.group = n;
  state.layer = null;
  state.chosen = false;
  state.query = firstChoice();
  draw();
  say(`${groups[n]}: ${plural(layersOf(n).length, "layer")}`);
}

function lastQuery() {
  const layer = data.layers[layersOf(state.group)[0]];
  return Math.min(layer.totals[0], data.limit) - 1;
}

// A token with a story, or the last token whose weights matter to the loss: of a text with its next characters the last
// but one.
function firstChoice() {
  const places = layersOf(state.group).flatMap((n) => data.layers[n].heads.map((_, h) => [n, h]));
  const heads = places.map(([n, h]) => headOf(n, h));
  const matters = (i) => heads.some((one) => !one.gradient || rowOf(one.gradient, i, one.S).some((g) => g !== 0));
  let last = lastQuery();
  while (last > 0 && !matters(last)) last -= 1;
  if (!matters(last)) last = lastQuery();
  const story = storyOf(heads.map((one) => ({ T: one.T, S: one.S, weights: one.weights, self: !one.layer.cross })), last, matters);
  state.story = story && { ...story, place: places[story.head] };
  return story ? story.query : last;
}

// Why the page opens where it does.
function tellStory() {
  if (!state.story) return "All heads. Choose a token in the text to see where it looks, or a head to see its numbers.";
  const { query, key, weight, place: [n, h] } = state.story;
  const one = headOf(n, h);
  return `For a start: in layer ${n}, head ${h}, ${place(one.rows, query)} looks at ${place(one.columns, key)} with ${percent(weight)}.`;
}

function turn(by) {
  if (state.layer === null) return;
  const count = data.layers[state.layer].heads.length;
  open(state.layer, (state.head + by + count) % count);
}

function climb(by) {
  if (state.layer === null) return;
  const layers = layersOf(state.group);
  const next = layers[(layers.indexOf(state.layer) + by + layers.length) % layers.length];
  open(next, Math.min(state.head, data.layers[next].heads.length - 1));
}

// To the nearest thumbnail in the direction of the arrow.
function moveThumb(key) {
  const thumbs = [...document.querySelectorAll(".thumb")];
  const from = document.activeElement.classList.contains("thumb") ? document.activeElement.getBoundingClientRect() : null;
  if (!from) return thumbs[0].focus();
  const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  let [nearest, least] = [null, Infinity];
  for (const thumb of thumbs) {
    const to = thumb.getBoundingClientRect();
    const [x, y] = [to.left - from.left, to.top - from.top];
    const [ahead, aside] = [x * right + y * down, Math.abs(x * down) + Math.abs(y * right)];
    if (ahead > 1 && ahead + 4 * aside < least) [nearest, least] = [thumb, ahead + 4 * aside];
  }
  nearest?.focus();
}

function moveCell(key) {
  const one = headOf(state.layer, state.head);
  const [i, j] = [state.query, state.key];
  const to = { ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1], ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], Home: [i, 0], End: [i, one.S - 1], m: [i, bestKey(one, i)] }[key];
  select(Math.max(0, Math.min(one.T - 1, to[0])), Math.max(0, Math.min(one.S - 1, to[1])));
}

const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || byId("keys").open) return;
  const inText = event.target.dataset?.token !== undefined;
  const inTabs = event.target.getAttribute?.("role") === "tab";
  const by = event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 1;
  if (ARROWS.includes(event.key) && inTabs) {
    openGroup((state.group + by + groups.length) % groups.length);
    document.querySelector('[role="tab"][aria-selected="true"]').focus();
  } else if (ARROWS.includes(event.key) && inText) {
    chooseQuery(Math.max(0, Math.min(lastQuery(), state.query + by)));
  } else if (ARROWS.includes(event.key) && event.target.classList?.contains("scroll")) return;
  else if (ARROWS.includes(event.key)) {
    if (state.layer === null) moveThumb(event.key);
    else moveCell(event.key);
  } else if (["Home", "End", "m"].includes(event.key) && state.layer !== null) moveCell(event.key);
  else if (event.key === "[") turn(-1);
  else if (event.key === "]") turn(1);
  else if ((event.key === "{" || event.key === "PageUp") && state.layer !== null) climb(-1);
  else if ((event.key === "}" || event.key === "PageDown") && state.layer !== null) climb(1);
  else if (event.key === "w") toggleWords();
  else if (event.key === "r") toggleScale();
  else if (event.key === "s") saveFigure();
  else if (event.key === "Escape") backToAll();
  else if (event.key === "?") byId("keys").showModal();
  else return;
  event.preventDefault();
});

function start() {
  byId("title").textContent = `Attention of ${data.title}`;
  const heads = sum(data.layers.map((layer) => layer.heads.length));
  byId("subtitle").textContent = `${plural(data.layers.length, "layer")}, ${plural(heads, "head")}`;
  const notes = data.sequences.flatMap((sequence) => {
    const name = sequence.name ? ` (${sequence.name})` : "";
    return [
      sequence.dropped ? `The model reads the last ${sequence.total} of ${sequence.total + sequence.dropped} tokens${name}: its context holds no more.` : "",
      sequence.total > sequence.labels.length ? `Showing the first ${sequence.labels.length} of ${sequence.total} tokens${name}.` : "",
    ].filter(Boolean);
  });
  byId("note").hidden = !notes.length;
  byId("note").textContent = notes.join(" ");
  if (groups.length > 1) groups.forEach((name, n) => byId("tabs").append(element("button", { role: "tab", "aria-controls": "view", onclick: () => openGroup(n) }, name)));
  byId("all").addEventListener("click", backToAll);
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));
  byId("up").addEventListener("click", () => climb(-1));
  byId("down").addEventListener("click", () => climb(1));
  byId("export").addEventListener("click", saveFigure);
  byId("help").addEventListener("click", () => byId("keys").showModal());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("resize", () => state.layer !== null && geometry(headOf(state.layer, state.head)).cell !== state.geometry.cell && drawHead());
  state.query = firstChoice();
  draw();
  say(tellStory());
}

start();
