// Arrays as figures: a number, a table, or the corner of a large one with its statistics; and formulas as MathML.

function scaleOf(...summaries) {
  return Math.max(0, ...summaries.flatMap((s) => (s ? [Math.abs(s.min ?? 0), Math.abs(s.max ?? 0)] : [])));
}

// Formulas: trees made in Python, as MathML elements.
function math(tree) {
  const [tag, ...children] = tree;
  const made = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag);
  for (const child of children) {
    if (typeof child === "string") made.append(child);
    else if (Array.isArray(child)) made.append(math(child));
    else for (const [name, value] of Object.entries(child)) made.setAttribute(name, value);
  }
  return made;
}

// A formula line as MathML elements that may stand on lines of their own: z = a value, | a = softmax(s), | ...
function mathLine(tree) {
  const [, attributes, body] = tree;
  const pieces = [[]];
  for (const part of body[0] === "mrow" ? body.slice(1) : [body]) {
    if (pieces.at(-1).length || part[0] !== "mspace") pieces.at(-1).push(part);
    if (part[0] === "mo" && part[1].separator) pieces.push([]);
  }
  return tag("span.formula", ...pieces.map((piece) => math(["math", attributes, ["mrow", ...piece]])));
}

// Arrays: a number, a table, or the corner of a large one with its statistics.
const WINDOW = { rows: 12, columns: 10 };

// A figure of an array; role is what formulas call it. In it each known element knows its place in the flat data.
function array(caption, summary, scale = summary && summary.shape.length ? scaleOf(summary) : 0, role = "") {
  const box = element(
    "figure",
    { "data-role": role || null },
    tag("figcaption", caption, summary && summary.shape.length ? tag("span", ` ${shapeOf(summary)}`) : null),
  );
  if (!summary) box.append(quiet(NO_VALUE));
  else if (summary.data && summary.data.length === 1 && !summary.shape.length) {
    const look = { class: typeof summary.data[0] === "string" ? "big bad" : "big", "data-at": 0 };
    box.append(element("span", look, format(summary.data[0])));
  } else if (!summary.data && !summary.corner) box.append(quiet("values not recorded"));
  else if (summary.data) box.append(...whole(summary, scale, caption));
  else {
    const values = summary.corner.slice(0, state.tall ? 8 : 4);
    const [row, column] = summary.start ?? [0, 0];
    box.append(...(summary.nonzero !== undefined ? [rowsNote(summary)] : []));
    box.append(frame(table(values, scale, row, column, null), caption), statistics(summary));
  }
  if (summary?.nonfinite && summary.data) box.append(tag("div.bad", `${summary.nonfinite} of ${summary.data.length} not finite`));
  return box;
}

function rowsNote({ shape, start, nonzero, rows }) {
  return tag("div.quiet", `from row ${start[0]} of ${rows}, where it is largest; ${plural(nonzero, "row")} not 0`);
}

// A table in a frame that scrolls; for a keyboard it is one stop, in which the arrows move from cell to cell.
function frame(made, caption) {
  const box = element("div", { class: "frame", tabindex: 0, role: "group", "aria-label": caption }, made);
  return box;
}

// A table of numbers with the index of each row and column; axes of more than two are chosen by their leading index.
// at(i, j) is the place of a cell in the flat data, or null.
function table(values, scale, firstRow, firstColumn, at) {
  const single = values.length === 1;
  const head = tag(
    "tr",
    single ? null : element("th"),
    ...(values[0] ?? []).map((_, j) => element("th", { scope: "col" }, String(firstColumn + j))),
  );
  const body = values.map((row, i) =>
    tag(
      "tr",
      single ? null : element("th", { scope: "row" }, String(firstRow + i)),
      ...row.map((value, j) =>
        element(
          "td",
          {
            style: `background: ${colour(value, scale)}`,
            class: typeof value === "string" ? "bad" : null,
            "data-at": at ? at(i, j) : null,
          },
          format(value),
        ),
      ),
    ),
  );
  return tag("table.numbers", tag("thead", head), tag("tbody", ...body));
}

function whole(summary, scale, caption) {
  const shape = summary.shape.length > 1 ? summary.shape : [1, ...(summary.shape.length ? summary.shape : [1])];
  const [height, width] = shape.slice(-2);
  const leading = shape.slice(0, -2);
  if (!summary.data.length) return [quiet("empty")];
  const key = shape.join("x");
  state.slices[key] ??= sliceAtLargest(summary, shape);
  const slice = state.slices[key];
  const offset = leading.reduce((sum, size, axis) => sum * size + slice.lead[axis], 0) * height * width;
  const values = [];
  for (let i = slice.row; i < Math.min(height, slice.row + WINDOW.rows); i++) {
    const start = offset + i * width + slice.column;
    values.push(summary.data.slice(start, start + Math.min(WINDOW.columns, width - slice.column)));
  }
  const controls = leading.map((size, axis) =>
    number(`axis ${axis}`, slice.lead[axis], size - 1, (v) => (slice.lead[axis] = v)),
  );
  if (height > WINDOW.rows)
    controls.push(number(`of ${height} rows, from`, slice.row, height - WINDOW.rows, (v) => (slice.row = v)));
  if (width > WINDOW.columns)
    controls.push(number(`of ${width} columns, from`, slice.column, width - WINDOW.columns, (v) => (slice.column = v)));
  const at = (i, j) => offset + (slice.row + i) * width + slice.column + j;
  const parts = [frame(table(values, scale, slice.row, slice.column, at), caption)];
  if (height > WINDOW.rows) {
    const filled = rowsOf(summary).filter((row) => row.some((value) => value !== 0)).length;
    parts.push(tag("div.quiet", `${plural(filled, "row")} of ${summary.data.length / width} not 0`));
  }
  if (controls.length) parts.unshift(tag("div.zoom", ...controls));
  return parts;
}

// Where a table opens: at the largest element.
function sliceAtLargest(summary, shape) {
  const sizes = summary.data.map((value) => (typeof value === "number" ? Math.abs(value) : Infinity));
  const index = unravel(sizes.indexOf(Math.max(...sizes)), shape);
  const [row, column] = index.slice(-2);
  const first = (place, size, window) => (size <= window ? 0 : Math.max(0, Math.min(place - 1, size - window)));
  return {
    lead: index.slice(0, -2),
    row: first(row, shape.at(-2), WINDOW.rows),
    column: first(column, shape.at(-1), WINDOW.columns),
  };
}

let zooms = 0; // how many inputs and buttons of arrays the panel has so far

function number(label, value, max, set) {
  const input = element("input", {
    type: "number",
    min: 0,
    max,
    value,
    id: `zoom-${zooms++}`,
    "aria-label": label,
    onchange: (event) => {
      set(Math.max(0, Math.min(max, Math.round(Number(event.target.value)) || 0)));
      drawPanel();
    },
  });
  return tag("label", label, " ", input);
}

function statistics(summary) {
  const tallest = Math.max(...(summary.histogram ?? [0]));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 28");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "histogram from min to max");
  (summary.histogram ?? []).forEach((count, i) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = count ? Math.max(1, (27 * count) / tallest) : 0;
    for (const [name, value] of Object.entries({ x: i * 5, y: 28 - height, width: 4.4, height }))
      bar.setAttribute(name, value);
    svg.append(bar);
  });
  const nonfinite = summary.nonfinite ? tag("span.bad", `${summary.nonfinite} not finite`) : null;
  const toggle = () => {
    state.tall = !state.tall;
    drawPanel();
  };
  const more = element("button", { id: `zoom-${zooms++}`, onclick: toggle }, state.tall ? "fewer rows" : "more rows");
  const named = ["min", "mean", "max", "norm"].map((name) => tag("span", `${name} ${format(summary[name] ?? "none")}`));
  return tag("div.stats", more, tag("span", "the first of each axis · of all:"), svg, ...named, nonfinite);
}

function source(record, turn = "") {
  if (!record) return tag("p.quiet", "The line is not known.");
  return tag(
    "div.source",
    tag("div.quiet", `${record.file}:${record.line} in ${record.function}${turn ? `, ${turn}` : ""}`),
    tag("pre", tag("code", record.text)),
  );
}

function formulas(op, used) {
  return tag(
    "div.formulas",
    ...op.formulas.map((tree, i) => element("div", { class: used.has(i) ? "used" : null }, mathLine(tree))),
  );
}

function figures(...parts) {
  return tag("div.figures", ...parts);
}

function sign(text) {
  return element("span", { class: "sign", "aria-hidden": "true" }, text);
}

