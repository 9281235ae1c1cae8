// Inside a run: what comes next, a summary, and tables whose cells are coloured by their numbers.
const data = readData();
document.getElementById("title").textContent = data.title;
document.getElementById("summary").textContent = data.summary.join("\n");
document.getElementById("answers").append(...data.answers.map(([token, p]) => element("span", {}, `${token} ${p}`)));

data.tables.forEach((table, number) => {
  const id = `table-${number}`;
  const head = element("tr", {}, element("td"), ...table.columns.map((name) => element("th", {scope: "col"}, name)));
  const rows = table.rows.map((name, i) =>
    element("tr", {}, element("th", {scope: "row"}, name), ...table.values[i].map((value, j) => cell(table, value, i, j))));
  const frame = element("div", {class: "frame", tabindex: 0, role: "region", "aria-labelledby": id},
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  document.getElementById("tables").append(
    element("section", {}, element("h2", {id}, table.heading), element("p", {class: "quiet"}, table.text), frame));
});

function cell(table, value, i, j) {
  const label = table.labels ? table.labels[i][j] : value.toFixed(2);
  const told = `${table.rows[i]}, ${table.columns[j]}: ${table.labels ? `${label} ` : ""}${format(value)}`;
  return element("td", {style: `background: ${colour(value, table.scale)}`, title: told}, label);
}
