// What all pages share: the data, elements made without markup strings, numbers, colours, tables of an array's summary.

function readData() {
  return JSON.parse(document.getElementById("data").textContent);
}

// element("button", {class: "next", onclick: f}, "Next"): text is always text, never markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A number as a reader wants it: 4 significant digits; "nan" and "inf" come as texts.
function format(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(2) : value.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

// The colour of a value between -scale and scale, light enough to be written on; nothing for what is no number.
function colour(value, scale) {
  if (typeof value !== "number" || !(scale > 0)) return "";
  const share = Math.min(1, Math.abs(value) / scale);
  return `rgb(var(${value < 0 ? "--negative" : "--positive"}) / ${(0.55 * share).toFixed(3)})`;
}

// The rows of a summary that are known: all of a small array as a matrix (leading axes joined), or the corner.
function rowsOf(summary) {
  if (!summary.data) return summary.corner ?? [];
  const width = summary.shape.length ? summary.shape[summary.shape.length - 1] : 1;
  const rows = [];
  for (let i = 0; i < summary.data.length; i += width || 1) rows.push(summary.data.slice(i, i + width));
  return rows;
}

function shapeOf(summary) {
  return summary.shape.length ? `(${summary.shape.join(", ")})` : "a number";
}
