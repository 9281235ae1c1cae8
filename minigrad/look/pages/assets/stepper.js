// The stepper: one state (step, selection, folds, breakpoints, tab), and functions that draw it.

const KEYS = {
  ArrowRight: () => goTo(state.step + 1),
  ArrowLeft: () => goTo(state.step - 1),
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  Home: () => goTo(0),
  End: () => goTo(last),
  " ": togglePlay,
  c: continueOn,
  m: nextModule,
  b: toggleBreak,
  "/": openFinder,
  "?": () => byId("keys").showModal(),
  Escape: () => {
    state.selected = null;
    state.tab = "step";
    draw();
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  const across = event.key === "ArrowLeft" || event.key === "ArrowRight"; // these step even where a list has the focus
  if (target.matches("select") && !across) return;
  if (target.matches("input:not([type=range])") || (target === byId("slider") && event.key.startsWith("Arrow"))) return;
  if (event.key === " " && target.matches("button, summary") && !target.matches(".row:not(.group)")) return;
  if (target.matches("[role=tab]") && event.key.startsWith("Arrow")) return;
  if (target.matches("button.line") && (event.key === "ArrowUp" || event.key === "ArrowDown")) return moveInListing(event);
  if (target.matches(".frame") && event.key.startsWith("Arrow")) return moveInTable(event);
  const upOrDown = event.key === "ArrowUp" || event.key === "ArrowDown"; // they scroll what is read, and move in the list
  if (upOrDown && byId("side").contains(target)) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  if (event.key !== " " && !["b", "?", "/"].includes(event.key)) play(false);
  action();
});

const BUTTONS = {
  home: "Home",
  back: "ArrowLeft",
  next: "ArrowRight",
  end: "End",
  play: " ",
  continue: "c",
  module: "m",
  break: "b",
  find: "/",
  help: "?",
};
for (const [id, key] of Object.entries(BUTTONS)) byId(id).addEventListener("click", KEYS[key]);
byId("slider").addEventListener("input", (event) => goTo(Number(event.target.value)));
byId("query").addEventListener("input", (event) => find(event.target.value));
byId("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter") byId("found").querySelector("button")?.click();
  if (event.key === "ArrowDown") byId("found").querySelector("button")?.focus();
  if (event.key === "Enter" || event.key === "ArrowDown") event.preventDefault();
});
byId("found").addEventListener("keydown", (event) => {
  const by = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!by) return;
  event.preventDefault();
  (event.target.closest("li")[by]?.querySelector("button") ?? byId("query")).focus();
});
for (const name of TABS) {
  byId(`tab-${name}`).addEventListener("click", () => {
    state.tab = name;
    drawPanel();
  });
  byId(`tab-${name}`).addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    state.tab = TABS[(TABS.indexOf(name) + by + TABS.length) % TABS.length];
    drawPanel();
    byId(`tab-${state.tab}`).focus();
  });
}

byId("speed").addEventListener("change", () => state.timer && play(true));

// The arrows in a table: from cell to cell, as a pointer would.
function moveInTable(event) {
  const frame = event.target;
  const cells = [...frame.querySelectorAll("td")];
  const width = frame.querySelector("tr:last-child").querySelectorAll("td").length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width }[event.key];
  const from = cells.indexOf(frame.querySelector("td.here"));
  const cell = cells[from < 0 ? 0 : Math.max(0, Math.min(cells.length - 1, from + by))];
  event.preventDefault();
  for (const other of cells) other.classList.toggle("here", other === cell);
  cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  pointAt(cell);
}

byId("panel").addEventListener("pointerover", (event) => {
  const cell = event.target.closest("[data-at]");
  if (cell) pointAt(cell);
  pointAtSymbol(event.target.closest(".formulas mi, .formulas mo"));
});
byId("panel").addEventListener("click", (event) => {
  pointAt(event.target.closest("[data-at]"));
  clickAt(event.target.closest("[data-at]"));
});

function fromHash() {
  const step = Number(new URLSearchParams(location.hash.slice(1)).get("step"));
  return Number.isInteger(step) ? Math.max(0, Math.min(last, step)) : 0;
}

addEventListener("hashchange", () => {
  if (passOf(location.hash) === chosen) goTo(fromHash());
  else location.reload(); // another pass is another set of data
});
addEventListener("resize", () => drawRows());
byId("title").textContent = page.title;
byId("subtitle").textContent = [data.number > 1 && page.views.length === 1 ? `backward pass ${data.number}` : "", data.cut]
  .filter(Boolean)
  .join(" · ");
if (page.views.length > 1) {
  const passes = page.views.map((view, i) => [i, `backward pass ${view.number}`]);
  const go = (value) => (location.hash = `#pass=${Number(value) + 1}&step=0`);
  byId("subtitle").append(tag("label.passes", chooser("passes", passes, chosen, go)));
  byId("passes").setAttribute("aria-label", "backward pass");
}
byId("slider").max = last;
makeRows(data.tree, [], 0);
makeLinks();
goTo(fromHash());
