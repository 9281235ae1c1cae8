// Nudge it: the loss over one number of a leaf, with the gradient as the slope of its tangent.
const POINTS = (data.nudges[0]?.losses.length ?? 1) >> 1;

function nudgesOf(tensor) {
  return data.nudges.filter((nudge) => nudge.tensor === tensor);
}

// The panel of one leaf: a curve, its tangent, and a handle; which element is chosen by a click on its number.
function nudgeSection(tensor) {
  const all = nudgesOf(tensor);
  if (!all.length) return null;
  const size = valueOf(tensor).shape.reduce((product, n) => product * n, 1);
  const nudge = all.find((n) => ravel(n.index, valueOf(tensor).shape) === state.nudged) ?? all[0];
  const name = place([tensor, ravel(nudge.index, valueOf(tensor).shape)]);
  const said = element("output", { class: "promise", for: "nudge" });
  const curve = element("div", { class: "curve" });
  const show = () => {
    said.textContent = promise(nudge, name, state.by);
    curve.replaceChildren(curveOf(nudge, name, state.by));
  };
  const handle = element("input", {
    type: "range",
    id: "nudge",
    min: -POINTS,
    max: POINTS,
    value: state.by,
    "aria-label": `move ${name}`,
    oninput: (event) => {
      state.by = Number(event.target.value);
      show();
    },
  });
  const options = all.map((n) => ravel(n.index, valueOf(tensor).shape)).map((flat) => [flat, place([tensor, flat])]);
  const choose = (value) => {
    state.nudged = Number(value);
    drawPanel();
  };
  const picker = size > 1 ? tag("label.picker", "Number ", chooser("nudged", options, ravel(nudge.index, valueOf(tensor).shape), choose)) : null;
  show();
  const some = all.length < size ? tag("p.quiet", `Worked out for the ${all.length} of ${size.toLocaleString("en")} numbers with the largest gradients.`) : null;
  return tag("section.nudge", tag("h2", "Nudge it"), picker, said, curve, handle, some);
}

function promise(nudge, name, by) {
  const moved = by * nudge.step;
  const [promised, really] = [nudge.gradient * moved, nudge.losses[by + POINTS]];
  const sign = (x) => (typeof x === "number" ? (x >= 0 ? "+" : "") + plain(x) : x);
  const to = Number((nudge.value + moved).toPrecision(8));
  return `${name} from ${plain(nudge.value)} to ${plain(to)}: the gradient promises ${sign(promised)}, really ${sign(really)}`;
}

function curveOf(nudge, name, by) {
  const [width, height, edge] = [360, 170, 14];
  const known = nudge.losses.map((y, i) => [(i - POINTS) * nudge.step, y]).filter(([, y]) => typeof y === "number");
  const line = [-POINTS, POINTS].map((k) => [k * nudge.step, k * nudge.step * nudge.gradient]);
  const seen = known.map(([, y]) => y);
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  const room = (high - low || 1e-12) * 0.25;
  const x = (v) => edge + ((width - 2 * edge) * (v / nudge.step + POINTS)) / (2 * POINTS);
  const y = (v) => height - edge - ((height - 2 * edge) * (v - low + room)) / (high - low + 2 * room || 1);
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `the loss over ${name}, with its tangent` });
  const points = known.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
  const at = by * nudge.step;
  svg.append(
    svgElement("line", { class: "tangent", x1: x(line[0][0]), y1: y(line[0][1]), x2: x(line[1][0]), y2: y(line[1][1]) }),
    svgElement("polyline", { class: "loss", points }),
    ...known.map(([a, b]) => svgElement("circle", { class: "measured", cx: x(a), cy: y(b), r: 2.2 })),
    svgElement("circle", { class: "start", cx: x(0), cy: y(0), r: 4 }),
  );
  const really = nudge.losses[by + POINTS];
  if (typeof really === "number") {
    svg.append(
      svgElement("line", { class: "gap", x1: x(at), y1: y(nudge.gradient * at), x2: x(at), y2: y(really) }),
      svgElement("circle", { class: "handle", cx: x(at), cy: y(really), r: 6 }),
    );
  }
  return svg;
}

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
