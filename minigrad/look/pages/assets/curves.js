// Small curves of many layers over steps, coloured by depth.

// The colour of line i of n: blue for the first layer, red for the last.
function tint(i, n) {
  if (n < 2) return "var(--accent)";
  return `color-mix(in srgb, rgb(var(--positive)) ${Math.round((100 * i) / (n - 1))}%, rgb(var(--negative)))`;
}

// Curves over steps, {name: [value or null, ...]}; on a logarithmic scale where they span more than three powers of ten.
// Each value stands for so many steps (stride).
function curves(caption, lines, stride = 1) {
  const names = Object.keys(lines);
  const known = names.flatMap((name) => lines[name].filter((value) => value !== null));
  if (!known.length) return null;
  const width = 340, height = 150, left = 54, right = 8, top = 8, bottom = 20;
  const positive = known.filter((value) => value > 0);
  const low = Math.min(...known), high = Math.max(...known);
  const logarithmic = low >= 0 && positive.length > 0 && high / Math.min(...positive) > 1e3;
  const floor = logarithmic ? Math.min(...positive) : 0;
  const scaled = (value) => (logarithmic ? Math.log10(Math.max(value, floor)) : value);
  const from = scaled(low), to = scaled(high), span = to - from || Math.abs(to) || 1;
  const count = Math.max(2, ...names.map((name) => lines[name].length));
  const x = (i) => left + (i / (count - 1)) * (width - left - right);
  const y = (value) => top + (1 - (scaled(value) - from + span * 0.05) / (span * 1.1)) * (height - top - bottom);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${caption}: ${names.length} curve${names.length === 1 ? "" : "s"} over ${count * stride} steps, from ${format(low)} to ${format(high)}${logarithmic ? ", on a logarithmic scale" : ""}` });
  for (const value of low === high ? [low] : [low, high]) {
    svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, format(Number(value.toPrecision(3)))));
  }
  svg.append(shape("text", { x: left, y: height - 5 }, "step 1"), shape("text", { x: width - right, y: height - 5, "text-anchor": "end" }, (count * stride).toLocaleString("en")));
  names.forEach((name, i) => {
    const points = lines[name].map((value, step) => [step, value]).filter(([, value]) => value !== null);
    const line = shape("polyline", { class: "curve", style: `stroke: ${tint(i, names.length)}`, points: points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ") });
    line.append(shape("title", {}, name));
    svg.append(line);
  });
  const listed = names.length > 6 ? [0, Math.floor(names.length / 2), names.length - 1] : names.map((_, i) => i);
  const legend = element("div", { class: "legend" }, ...listed.map((i) => element("span", { style: `--key: ${tint(i, names.length)}` }, names[i])));
  return element("figure", {}, element("figcaption", {}, caption), svg, legend);
}
