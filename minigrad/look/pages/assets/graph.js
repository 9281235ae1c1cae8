// The page of the graph: one laid-out picture at a time; opening a module shows the picture in which it is open.

const data = readData();
const byId = (id) => document.getElementById(id);
const holder = byId("picture");
let view = null; // what is shown: {svg, title, boxes, clusters, ...}
let svg = null;
let whole = null; // the viewBox that shows all of it
let frame = null; // the viewBox that is shown
let chosen = null; // the element of the chosen box
let found = [];

// Views

function show(name, choose) {
  view = data.views[name];
  if (!view) return;
  view.name = name;
  svg = document.importNode(new DOMParser().parseFromString(view.svg, "image/svg+xml").documentElement, true);
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  whole = svg.getAttribute("viewBox").split(/[ ,]+/).map(Number);
  holder.replaceChildren(svg);
  chosen = null;
  for (const [id, box] of Object.entries(view.boxes)) {
    const group = svg.getElementById(id);
    if (!group) continue;
    group.setAttribute("tabindex", "-1");
    group.setAttribute("role", box.opens ? "button" : "img");
    group.setAttribute("aria-label", box.lines.join(", ") + (box.opens ? ", closed module" : ""));
    if (box.opens) group.classList.add("opens");
    group.addEventListener("pointerenter", () => describe(box));
    group.addEventListener("focus", () => pick(group));
  }
  for (const [id, cluster] of Object.entries(view.clusters)) {
    svg.querySelector(`#${id} > text`)?.addEventListener("pointerenter", () => describe(cluster));
  }
  const first = svg.querySelector(".node[role]");
  if (first) first.setAttribute("tabindex", "0");
  start();
  drawTrail();
  drawLegend();
  for (const button of byId("views").children) {
    button.setAttribute("aria-pressed", String(button.dataset.view === name || (button.dataset.view === "module:" && view.path !== undefined)));
  }
  search();
  if (choose !== undefined) {
    const id = Object.keys(view.boxes).find((key) => view.boxes[key].opens === choose || view.boxes[key].module === choose);
    if (id) svg.getElementById(id).focus({ preventScroll: true });
  }
}

function drawTrail() {
  const trail = byId("trail");
  trail.replaceChildren();
  if (view.path === undefined) return;
  const steps = [["", data.title]];
  for (let name = view.path; name; name = data.views["module:" + name].parent) steps.splice(1, 0, [name, data.views["module:" + name].title]);
  for (const [path, title] of steps) {
    if (trail.children.length) trail.append(element("span", { "aria-hidden": "true" }, "›"));
    trail.append(element("button", { disabled: path === view.path, onclick: () => show("module:" + path) }, title));
  }
}

function drawLegend() {
  byId("legend").replaceChildren();
  for (const { kind, text, light, dark } of view.legend) {
    const mark = element("i", { class: kind, "aria-hidden": "true" });
    const colours = { "--light": light[0], "--light-line": light[1], "--dark": dark[0], "--dark-line": dark[1] };
    for (const [name, value] of Object.entries(colours)) if (value) mark.style.setProperty(name, value);
    byId("legend").append(element("li", {}, mark, text));
  }
}

function close() {
  if (byId("find").value) {
    byId("find").value = "";
    search();
  } else if (view.path) {
    show("module:" + view.parent, view.path);
  }
}

function open(box) {
  if (box.opens && data.views["module:" + box.opens]) show("module:" + box.opens, box.opens);
}

// Boxes

function describe(box) {
  byId("about").textContent = box.lines.join(" ") || "…";
  byId("details").textContent = box.tooltip.join("\n") + (box.opens ? "\n\nEnter, a click or a tap opens it." : "");
}

function pick(group) {
  if (chosen) {
    chosen.classList.remove("chosen");
    chosen.setAttribute("tabindex", "-1");
  }
  for (const other of svg.querySelectorAll('.node[tabindex="0"]')) other.setAttribute("tabindex", "-1");
  chosen = group;
  group.classList.add("chosen");
  group.setAttribute("tabindex", "0");
  describe(view.boxes[group.id]);
  const [x, y] = middle(group);
  const [left, top, width, height] = frame;
  if (x < left || x > left + width || y < top || y > top + height) setFrame([x - width / 2, y - height / 2, width, height]);
}

// The middle of a box in the picture's own measure.
function middle(group) {
  const box = group.getBoundingClientRect();
  const point = new DOMPoint(box.x + box.width / 2, box.y + box.height / 2).matrixTransform(svg.getScreenCTM().inverse());
  return [point.x, point.y];
}

// The nearest box in a direction: near ahead counts once, beside counts twice.
function step(dx, dy) {
  const groups = [...svg.querySelectorAll(".node[role]")];
  if (!chosen) {
    groups[0]?.focus({ preventScroll: true });
    return;
  }
  const [x, y] = middle(chosen);
  let best = null;
  let least = Infinity;
  for (const group of groups) {
    const [u, v] = middle(group);
    const ahead = (u - x) * dx + (v - y) * dy;
    const beside = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
    if (group !== chosen && ahead > 1 && ahead + 2 * beside < least) {
      least = ahead + 2 * beside;
      best = group;
    }
  }
  best?.focus({ preventScroll: true });
}

// Pan and zoom

function setFrame(next) {
  frame = next;
  svg.setAttribute("viewBox", frame.map((n) => n.toFixed(2)).join(" "));
}

const SMALLEST = 10; // pixels of a letter's height at first view

// All of it where that can be read; of a long picture the top, of one that is also wide the part around the result.
function start() {
  fit();
  const [across, down] = [holder.clientWidth, holder.clientHeight];
  const font = Math.min(...[...svg.querySelectorAll("text")].map((text) => Number(text.getAttribute("font-size")) || 10));
  const scale = SMALLEST / font; // pixels for each unit of the picture
  if (Math.min(across / whole[2], down / whole[3]) >= scale) return;
  const [width, height] = [across / scale, down / scale];
  const [x, y] = middle(svg.querySelector(".node.result") ?? svg.querySelector(".node"));
  const within = (at, from, length, shown) => (length <= shown ? from + (length - shown) / 2 : Math.max(from, Math.min(at - shown / 2, from + length - shown)));
  const long = whole[2] <= width && whole[3] > 2 * height;
  setFrame([within(x, whole[0], whole[2], width), long ? whole[1] : within(y, whole[1], whole[3], height), width, height]);
}

function fit() {
  setFrame([...whole]);
}

function zoom(factor, x = frame[0] + frame[2] / 2, y = frame[1] + frame[3] / 2) {
  const width = Math.min(Math.max(frame[2] * factor, 40), whole[2] * 4);
  const share = width / frame[2];
  setFrame([x - (x - frame[0]) * share, y - (y - frame[1]) * share, width, frame[3] * share]);
}

function pointAt(event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

holder.addEventListener("wheel", (event) => {
  event.preventDefault();
  const point = pointAt(event);
  zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, point.x, point.y);
}, { passive: false });

// One finger or the mouse moves the picture, two fingers also make it larger or smaller.
const fingers = new Map(); // pointer id -> where it is, in pixels
let moved = false;
const between = (points) => [points.reduce((sum, p) => sum + p.x, 0) / points.length, points.reduce((sum, p) => sum + p.y, 0) / points.length];
const spread = ([a, b]) => (b ? Math.hypot(a.x - b.x, a.y - b.y) : 1);
holder.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  if (!fingers.size) moved = false;
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
});
holder.addEventListener("pointermove", (event) => {
  if (!fingers.has(event.pointerId) || !(event.buttons & 1)) return;
  const before = [...fingers.values()].slice(0, 2);
  const last = fingers.get(event.pointerId);
  if (!moved && Math.hypot(event.clientX - last.x, event.clientY - last.y) < 4) return;
  if (!moved) holder.setPointerCapture(event.pointerId);
  moved = true;
  holder.classList.add("moving");
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  const after = [...fingers.values()].slice(0, 2);
  const [[x, y], [u, v]] = [between(before), between(after)];
  const scale = svg.getScreenCTM().a;
  setFrame([frame[0] - (u - x) / scale, frame[1] - (v - y) / scale, frame[2], frame[3]]);
  if (after.length > 1) {
    const at = pointAt({ clientX: u, clientY: v });
    zoom(spread(before) / Math.max(1, spread(after)), at.x, at.y);
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  holder.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) holder.classList.remove("moving");
  });
}
holder.addEventListener("click", (event) => {
  if (moved) return;
  const node = event.target.closest(".node[role]");
  if (node) {
    node.focus({ preventScroll: true });
    open(view.boxes[node.id]);
    return;
  }
  const title = event.target.closest(".cluster > text");
  const path = title && view.clusters[title.parentNode.id].path;
  if (!path || !data.views["module:" + path]) return;
  const isOpen = view.path === path || view.path?.startsWith(path + ".");
  show("module:" + (isOpen ? data.views["module:" + path].parent : path), path);
});

// Search

function search() {
  const wanted = byId("find").value.trim().toLowerCase();
  found = [];
  for (const [id, box] of Object.entries(view.boxes)) {
    const group = svg.getElementById(id);
    if (!group) continue;
    const hit = [...box.lines, ...box.tooltip].join("\n").toLowerCase().includes(wanted);
    group.classList.toggle("missed", Boolean(wanted) && !hit);
    if (wanted && hit) found.push(group);
  }
  byId("found").textContent = wanted ? `${found.length} found` : "";
}

byId("find").addEventListener("input", search);
byId("find").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !found.length) return;
  const [x, y] = middle(found[0]);
  setFrame([x - frame[2] / 2, y - frame[3] / 2, frame[2], frame[3]]);
  found[0].focus({ preventScroll: true });
});

// Keys

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return close();
  if (event.target.matches("input, select") || event.target.closest("aside")) return;
  if (event.key in DIRECTIONS) step(...DIRECTIONS[event.key]);
  else if (event.key === "Enter" && chosen && !event.target.matches("button")) open(view.boxes[chosen.id]);
  else if (event.key === "+" || event.key === "=") zoom(1 / 1.25);
  else if (event.key === "-") zoom(1.25);
  else if (event.key === "0") fit();
  else if (event.key === "/") byId("find").focus();
  else return;
  event.preventDefault();
});

// On paper all of the picture is seen.
let before = null;
addEventListener("beforeprint", () => { before = frame; fit(); });
addEventListener("afterprint", () => { if (before) setFrame(before); });

byId("closer").addEventListener("click", () => zoom(1 / 1.25));
byId("farther").addEventListener("click", () => zoom(1.25));
byId("fit").addEventListener("click", fit);

// Start

byId("title").textContent = data.title;
for (const [name, title] of data.buttons) {
  byId("views").append(element("button", { "data-view": name, onclick: () => show(name) }, title));
}
show(data.first);
