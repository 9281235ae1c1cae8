// The page that says why a weight changed: a map of the change, and for the picked element the sums that make it.

const found = readData();
const byId = (id) => document.getElementById(id);
const { rows, columns } = found;
const PLACES = 25;

const signed = (value) => (value > 0 ? "+" : "") + value.toExponential(4);
const line = (head, ...cells) => element("tr", {}, element("th", { scope: "row" }, head), ...cells.map((cell) => element("td", {}, cell)));
const heading = (...texts) => element("tr", {}, ...texts.map((text) => element("th", { scope: "col" }, text)));

byId("title").textContent = `Why ${found.name} changed`;
const shapeText = found.shape.length ? `(${found.shape.join(", ")})` : "a number";
byId("summary").textContent = `${shapeText}, by ${found.optimizer}${found.step ? `, in step ${found.step.toLocaleString("en")}` : ""}; loss ${format(found.loss)}${found.cut ? `; the first ${rows} rows and ${columns} columns are shown` : ""}`;

// A table of terms with their sum.
function sums(place, terms, total) {
  const lines = Object.entries(terms).map(([name, value]) => line(name, signed(value)));
  const sum = line("together", signed(total));
  sum.className = "sum";
  place.replaceChildren(element("caption", { class: "quiet" }, "by term of the optimizer"), heading("term", "part of the change"), ...lines, sum);
}

function placeName(example, position) {
  return example === null ? "" : `example ${example}${position === null ? "" : `, position ${position}`}`;
}

// What each place brought to one element: [part, row, use].
function parts(i, j) {
  const all = [];
  const factor = found.factor[i * columns + j];
  for (const use of found.uses) {
    const across = use.dz.length / use.rows;
    for (let n = 0; n < use.rows; n += 1) {
      let slope;
      if (use.kind === "weight") slope = use.dz[n * across + i] * use.x[n * (use.x.length / use.rows) + j];
      else if (use.kind === "embedding") slope = use.ids[n] === i ? use.dz[n * across + j] : 0;
      else slope = use.dz[n * across + j];
      if (slope) all.push([slope * factor, n, use.label]);
    }
  }
  return all.sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]));
}

function show(i, j) {
  byId("row").value = i;
  byId("column").value = j;
  const at = i * columns + j;
  const change = found.change[at];
  const where = found.shape.length > 1 ? `[${i}, ${j}]` : `[${j}]`;
  byId("element").textContent = `${found.name}${where}: ${format(found.before[at])} ${signed(change)}`;
  const terms = Object.fromEntries(Object.entries(found.terms).map(([name, values]) => [name, values[at]]));
  sums(byId("terms"), { ...terms, rounding: change - Object.values(terms).reduce((a, b) => a + b, 0) }, change);
  const all = parts(i, j);
  const length = found.tokens?.length;
  byId("places").replaceChildren(
    heading("place", "token", "part", "of the change", "through"),
    ...all.slice(0, PLACES).map(([part, n, use]) => {
      const known = length && n < found.tokens.ids.length;
      return line(known ? placeName(Math.floor(n / length), n % length) : `row ${n}`, known ? String(found.tokens.ids[n]) : "", signed(part), change ? `${((100 * part) / change).toFixed(1)} %` : "", use);
    }),
  );
  const cut = found.uses.some((use) => use.cut) ? "; of the rest of a large batch nothing is known here" : "";
  byId("places-note").textContent = found.uses.length ? `${all.length.toLocaleString("en")} places have a share in this step's gradient; the ${Math.min(PLACES, all.length)} largest${cut}` : "The page knows the places of linear layers and embeddings only.";
  draw(i, j);
}

const canvas = byId("map");
const largest = Math.max(...found.change.map(Math.abs)) || 1;
canvas.setAttribute("aria-label", `the change of ${rows * columns} elements, the largest ${format(largest)}; pick one by row and column`);

function draw(i, j) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  for (let r = 0; r < rows; r += 1) for (let c = 0; c < columns; c += 1) {
    const value = found.change[r * columns + c];
    const rgb = style.getPropertyValue(value < 0 ? "--negative" : "--positive").trim();
    context.fillStyle = `rgb(${rgb} / ${Math.sqrt(Math.abs(value) / largest).toFixed(3)})`;
    context.fillRect(c, r, 1, 1);
  }
  context.fillStyle = style.getPropertyValue("--ink");
  context.fillRect(j, i, 1, 1);
  canvas.style.aspectRatio = `${columns} / ${rows}`;
  canvas.style.minHeight = rows === 1 ? "1.5rem" : "8rem";
}

canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect();
  show(Math.min(rows - 1, Math.floor(((event.clientY - box.top) / box.height) * rows)), Math.min(columns - 1, Math.floor(((event.clientX - box.left) / box.width) * columns)));
});
const within = (input, most) => Math.max(0, Math.min(most - 1, Math.round(Number(input.value) || 0)));
for (const id of ["row", "column"]) byId(id).addEventListener("change", () => show(within(byId("row"), rows), within(byId("column"), columns)));
byId("row").max = rows - 1;
byId("column").max = columns - 1;
const most = found.change.reduce((best, value, n) => (Math.abs(value) > Math.abs(found.change[best]) ? n : best), 0);
byId("most").addEventListener("click", () => show(Math.floor(most / columns), most % columns));

const first = found.picked !== null && found.picked < rows * columns && !found.cut ? found.picked : most;
show(Math.floor(first / columns), first % columns);

byId("whole-section").hidden = !found.whole;
if (found.whole) {
  const { whole } = found;
  sums(byId("whole-terms"), whole.terms, whole.change);
  byId("examples").replaceChildren(element("caption", { class: "quiet" }, "by example of the batch"), heading("example", "part"), ...whole.examples.map(([example, part]) => line(example === null ? "?" : String(example), signed(part))));
  byId("whole-places").replaceChildren(heading("place", "token", "part", "of the move", "through"), ...whole.places.slice(0, PLACES).map(([example, position, token, use, part]) => line(placeName(example, position), token === null ? "" : String(token), signed(part), whole.change ? `${((100 * part) / whole.change).toFixed(1)} %` : "", use)));
}
