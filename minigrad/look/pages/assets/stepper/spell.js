// A formula line in the script's names, and in numbers for one element: pure functions of shapes, data and parts.

// The index of an element along each axis, from its place in the flat data.
function unravel(flat, shape) {
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(flat % shape[axis]);
    flat = Math.floor(flat / shape[axis]);
  }
  return index;
}

function ravel(index, shape) {
  return index.reduce((sum, i, axis) => sum * shape[axis] + i, 0);
}

// Where an array that is broadcast to a wider shape has the element for an index of that shape.
function narrowed(index, shape) {
  const own = index.slice(index.length - shape.length);
  return ravel(own.map((i, axis) => (shape[axis] === 1 ? 0 : i)), shape);
}

// The indices of a wide shape that all go to one element of a narrower one: broadcasting the other way.
function widened(flat, shape, wide) {
  const own = unravel(flat, shape);
  const extra = wide.length - shape.length;
  let found = [[]];
  wide.forEach((size, axis) => {
    const fixed = axis >= extra && (shape[axis - extra] !== 1 || size === 1) ? own[axis - extra] : null;
    const choices = fixed === null ? [...Array(size).keys()] : [fixed];
    found = found.flatMap((start) => choices.map((i) => [...start, i]));
  });
  return found;
}

const TERMS = 6; // of a sum that are written out

// One element by a formula: {text, cells}, where cells has for each name the places it reads; null where it cannot be.
// line is {parts, kind, left, right, batched}; arrays has {shape, data} or a number for each name.
function spellElement(line, arrays, target, flat, show) {
  if (!line) return null;
  if (line.kind === "product") return spellProduct(line, arrays, target, flat, show);
  if (line.kind !== "elements") return null;
  const used = line.parts.filter(([kind]) => kind === "of").map(([, name]) => name);
  if (used.some((name) => arrays[name] === undefined || (arrays[name].shape && !arrays[name].data))) return null;
  const wide = used.map((name) => arrays[name].shape ?? []).concat([target.shape]).reduce(widest);
  const cells = {};
  const terms = widened(flat, target.shape, wide).map((index) =>
    line.parts
      .map(([kind, text], place) => {
        if (kind === "text") return text;
        const given = arrays[text];
        if (!given.shape) return bracketed(show(given), line.parts, place);
        const at = narrowed(index, given.shape);
        (cells[text] ??= new Set()).add(at);
        return bracketed(show(given.data[at]), line.parts, place);
      })
      .join(""),
  );
  return { text: summed(terms), cells };
}

function widest(a, b) {
  const length = Math.max(a.length, b.length);
  return [...Array(length).keys()].map((i) => {
    const [m, n] = [a, b].map((shape) => shape[i - (length - shape.length)] ?? 1);
    return m === 1 ? n : m;
  });
}

// A row of the left times a column of the right.
function spellProduct(line, arrays, target, flat, show) {
  const operands = [line.left, line.right].map(([name, turned]) => ({ ...arrays[name], name, turned }));
  if (operands.some((x) => !x.data || x.shape.length < 2)) return null;
  const index = unravel(flat, target.shape);
  const [i, j] = line.batched ? index.slice(-2) : [Math.floor(flat / target.shape.at(-1)), flat % target.shape.at(-1)];
  const lead = line.batched ? index.slice(0, -2) : [];
  const cells = { [operands[0].name]: new Set(), [operands[1].name]: new Set() };
  const place = (x, row, column) => {
    const [r, c] = x.turned ? [column, row] : [row, column];
    const width = x.shape.at(-1);
    const start = line.batched ? narrowed(lead, x.shape.slice(0, -2)) * x.shape.at(-2) * width : 0;
    return start + r * width + c;
  };
  const tall = operands[0].turned ? (line.batched ? operands[0].shape.at(-2) : operands[0].data.length / operands[0].shape.at(-1)) : operands[0].shape.at(-1);
  const terms = [];
  for (let k = 0; k < tall; k++) {
    const [a, b] = [place(operands[0], i, k), place(operands[1], k, j)];
    cells[operands[0].name].add(a);
    cells[operands[1].name].add(b);
    terms.push(`${signed(show(operands[0].data[a]))} · ${signed(show(operands[1].data[b]))}`);
  }
  return { text: summed(terms), cells };
}

function signed(text) {
  return text.startsWith("-") || text.startsWith("−") ? `(${text})` : text;
}

// A negative number in brackets where a sign or an exponent stands beside it.
function bracketed(text, parts, place) {
  const before = place ? parts[place - 1][1].trimEnd().at(-1) : "";
  const after = parts[place + 1]?.[1][0] ?? "";
  return "·−/+^".includes(before || "x") || "⁰¹²³⁴⁵⁶⁷⁸⁹^".includes(after || "x") ? signed(text) : text;
}

function summed(terms) {
  if (terms.length <= TERMS) return terms.length > 1 ? terms.map((t) => (t.startsWith("−") ? `(${t})` : t)).join(" + ") : terms[0] ?? "0";
  return `${terms.slice(0, TERMS).join(" + ")} + … (${terms.length} terms)`;
}

// The right side in names; names has one for each of z, dz and the inputs.
function spellNames(line, names) {
  return line.parts
    .map(([kind, text], place) => {
      if (kind === "text") return text;
      const name = names[text] ?? text;
      const raised = "ᵀ^⁰¹²³⁴⁵⁶⁷⁸⁹".includes(line.parts[place + 1]?.[1][0] ?? "x");
      return raised && !/^[\w.]+$|^\(.*\)$/.test(name) ? `(${name})` : name;
    })
    .join("");
}
