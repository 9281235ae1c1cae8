// Curves over steps, as SVG: ticks that fit, points where something was measured, and dashes where nothing was between.

const CHART = "http://www.w3.org/2000/svg";

function shape(tag, attributes, text) {
  const made = document.createElementNS(CHART, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Round numbers from low to high, about as many as wanted.
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-6; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found;
}

// 1, 2, 5, 10, 20, ... up to a number; of many the powers of ten.
function logTicks(high) {
  const found = [];
  for (let power = 1; power <= high; power *= 10) found.push(...[1, 2, 5].map((n) => n * power).filter((n) => n <= high));
  return found.length > 9 ? found.filter((n) => /^10*$/.test(String(n))) : found;
}

// A straight line fitted around each point, nearer points counting more: unlike a running mean it lags behind no slope.
function smooth(points, share = 1 / 15) {
  const known = points.filter(([, value]) => value !== null);
  const reach = Math.max(3, known.length * share);
  return known.map(([at], i) => {
    let [w, wx, wy, wxx, wxy] = [0, 0, 0, 0, 0];
    for (let j = Math.max(0, Math.ceil(i - reach)); j <= Math.min(known.length - 1, i + reach); j += 1) {
      const weight = (1 - Math.abs((j - i) / (reach + 1)) ** 3) ** 3;
      const [x, y] = [known[j][0] - at, known[j][1]];
      w += weight; wx += weight * x; wy += weight * y; wxx += weight * x * x; wxy += weight * x * y;
    }
    const spread = w * wxx - wx * wx;
    return [at, spread > 1e-12 * w * wxx ? (wy * wxx - wx * wxy) / spread : wy / w];
  });
}

// Values that are to stand at these heights, moved apart so that none covers another; in the order given.
function apart(heights, gap, low, high) {
  const order = heights.map((_, i) => i).sort((a, b) => heights[a] - heights[b]);
  const placed = [...heights];
  order.forEach((i, n) => { placed[i] = Math.max(heights[i], n ? placed[order[n - 1]] + gap : low); });
  let floor = high;
  for (const i of [...order].reverse()) { placed[i] = Math.min(placed[i], floor); floor = placed[i] - gap; }
  return placed;
}

// A line of a chart as stretches: of points that follow one another, and of the gaps between measured ones.
function stretches(points, gap) {
  const found = [];
  points.forEach((point, i) => {
    if (!i) return;
    const dashed = point[0] - points[i - 1][0] > gap;
    const last = found[found.length - 1];
    if (last && last.dashed === dashed) last.points.push(point);
    else found.push({ dashed, points: [points[i - 1], point] });
  });
  return found;
}

// Curves over steps: lines are {points: [[step, value]], name, look, dots, gap}; levels are {name: value}. Points farther
// apart than gap steps are joined by dashes. Gives a function that marks a step, and shows the values there.
function chart(place, { width, height = 230, steps, lines, levels = {}, zero = false, logarithmic = false, unit = "" }) {
  const points = lines.flatMap((line) => line.points).filter(([, value]) => value !== null);
  place.replaceChildren();
  if (!points.length) return place.append(element("p", { class: "quiet" }, "nothing recorded")), () => {};
  const beaten = Object.entries(levels).filter(([, value]) => value !== null);
  const values = [...points.map(([, value]) => value), ...beaten.map(([, value]) => value)];
  const last = Math.max(2, steps, ...points.map(([step]) => step));
  const low = Math.min(...values, zero ? 0 : Infinity), high = Math.max(...values);
  const span = high - low || Math.abs(high) || 1;
  const from = zero && low === 0 ? 0 : low - span * 0.04, to = high + span * 0.06;
  const names = ticks(from, to, 5).map((value) => [value, format(value)]);
  const left = 12 + 6.6 * Math.max(...names.map(([, text]) => text.length)), right = 14, top = 10, bottom = 34;
  const along = (step) => (logarithmic ? Math.log(Math.max(step, 1)) / Math.log(last) : (step - 1) / (last - 1));
  const x = (step) => left + along(step) * (width - left - right);
  const y = (value) => top + ((to - value) / (to - from)) * (height - top - bottom);
  const title = lines.map((line) => line.name).join(" and ");
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over ${last} steps, from ${format(low)} to ${format(high)}` });
  for (const [value, text] of names) {
    svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  const wanted = Math.max(2, Math.floor(width / 100));
  let free = -Infinity;
  for (const step of logarithmic ? logTicks(last) : [1, ...ticks(1, last, wanted).filter((n) => n > 1)]) {
    const text = step.toLocaleString("en"), half = 3.4 * text.length;
    const at = Math.min(x(step), width - half - 1);
    if (at - half < free + 8) continue;
    free = at + half;
    svg.append(shape("line", { class: "axis", x1: x(step), x2: x(step), y1: height - bottom, y2: height - bottom + 4 }));
    svg.append(shape("text", { x: at, y: height - bottom + 16, "text-anchor": "middle" }, text));
  }
  svg.append(shape("text", { x: width - right, y: height - 4, "text-anchor": "end" }, "step →"));
  for (const [, value] of beaten) svg.append(shape("line", { class: "baseline", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
  for (const line of lines) {
    const known = line.points.filter(([, value]) => value !== null);
    const path = (part) => part.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    for (const part of stretches(known, line.gap ?? Infinity)) {
      svg.append(shape("polyline", { class: `curve ${line.look}${part.dashed ? " between" : ""}`, points: path(part.points) }));
    }
    if (line.dots || known.length === 1) for (const [step, value] of known) svg.append(shape("circle", { class: `dot ${line.look}`, cx: x(step), cy: y(value), r: 3 }));
  }
  const heights = apart(beaten.map(([, value]) => y(value) - 4), 13, top + 8, height - bottom - 4);
  beaten.forEach(([name, value], i) => { // a loss falls: above it is room on the right, below it on the left
    const side = y(value) < (top + height - bottom) / 2 ? { x: width - right, "text-anchor": "end" } : { x: left + 4 };
    svg.append(shape("text", { class: "level", y: heights[i], ...side }, `guessing by ${name}, ${format(value)}`));
  });
  const now = shape("line", { class: "now", y1: top, y2: height - bottom });
  const reading = element("div", { class: "reading" }, "\u00a0");
  svg.append(now);
  place.append(svg, reading);
  const nearest = (line, step) => line.points.filter(([, value]) => value !== null).reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
  const read = (step) => {
    const said = lines.filter((line) => line.points.some(([, value]) => value !== null)).map((line) => {
      const [at, value] = nearest(line, step);
      return `${line.name} ${format(value)}${unit}${line.dots && at !== Math.round(step) ? ` (at ${at})` : ""}`;
    });
    reading.textContent = `step ${Math.round(step).toLocaleString("en")}: ${said.join(", ")}`;
  };
  let marked = last;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right);
    const within = Math.min(1, Math.max(0, share));
    read(logarithmic ? last ** within : 1 + within * (last - 1));
  });
  svg.addEventListener("pointerleave", () => read(marked));
  return (step) => {
    marked = step;
    now.setAttribute("x1", x(step));
    now.setAttribute("x2", x(step));
    read(step);
  };
}
