// What depends on what: one table for each input, a cell for each output and position.
const data = readData();
document.getElementById("title").textContent = data.title;

const findings = document.getElementById("findings");
for (const text of data.findings.length ? data.findings : ["Nothing is wrong with what the outputs see."]) {
  const box = document.createElement("pre");
  box.className = data.findings.length ? "finding" : "finding good";
  box.textContent = text;
  findings.append(box);
}
for (const text of data.notes) {
  const note = document.createElement("p");
  note.className = "quiet";
  note.textContent = text;
  findings.append(note);
}

const maps = document.getElementById("maps");
for (const map of data.maps) {
  const heading = document.createElement("h2");
  heading.textContent = map.name;
  const frame = document.createElement("div");
  frame.className = "map";
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", `map of ${map.name}`);
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  head.append(cell("th", "output"));
  map.sizes[0]?.forEach((_, s) => head.append(cell("th", s)));
  const body = table.createTBody();
  map.sizes.forEach((row, t) => {
    const line = body.insertRow();
    line.append(cell("th", t));
    row.forEach((size, s) => {
      const td = line.insertCell();
      if (size > 1e-12 * map.largest) {
        const share = 0.25 + 0.75 * Math.sqrt(size / map.largest);
        td.style.background = `rgb(var(--negative) / ${share.toFixed(3)})`;
        td.title = `output ${t} by position ${s}: ${size}`;
        td.append(hidden(`${size}${data.causal && s > t ? ", ahead" : ""}`));
        if (data.causal && s > t) td.className = "ahead";
      }
    });
  });
  frame.append(table);
  maps.append(heading, frame);
}

function cell(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function hidden(text) {
  const made = document.createElement("span");
  made.className = "hidden-text";
  made.textContent = text;
  return made;
}
