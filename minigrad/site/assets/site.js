// The page: an editor, files that stay in this browser, and a worker that runs Python.
const byId = (id) => document.getElementById(id);
const FIRST = `import minigrad as mg

x = mg.tensor([2.0, -3.0], requires_grad=True)
w = mg.tensor([0.5, 1.0], requires_grad=True)
loss = (x * w).sum().tanh()
loss.backward()
print(x.grad, w.grad)
`;
const text = (data) => new TextDecoder().decode(data);
const data = (string) => new TextEncoder().encode(string);
let worker, module, files = {}, current = "main.py", running = null;

// Files live in this browser's IndexedDB: one entry, all of them. Where a browser has none, they last as long as the page.
function store(mode) {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open("minigrad", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("files");
    asked.onerror = () => reject(asked.error);
    asked.onsuccess = () => resolve(asked.result.transaction("files", mode).objectStore("files"));
  });
}
async function remembered() {
  try {
    const kept = await store("readonly");
    return await new Promise((resolve) => {
      const asked = kept.get("all");
      asked.onsuccess = () => resolve(asked.result ?? {});
      asked.onerror = () => resolve({});
    });
  } catch {
    return {};
  }
}
async function remember() {
  try {
    (await store("readwrite")).put(files, "all");
  } catch {}
}

function say(kind, string) {
  const output = byId("output");
  const part = document.createElement("span");
  part.className = kind;
  part.textContent = string;
  output.append(part);
  output.scrollTop = output.scrollHeight;
}

function state(string, busy) {
  byId("state").textContent = string;
  for (const id of ["run", "step", "check", "hint"]) byId(id).disabled = busy;
  byId("stop").disabled = !running;
}

function begin() {
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data: told }) => {
    if (told.type === "ready") {
      module = told.module;
      document.documentElement.dataset.ready = "yes";
      state(`ready in ${(told.ms / 1000).toFixed(1)} s`, false);
    } else if (told.type === "done") {
      if (told.error) say("stderr", told.error);
      if (told.files) took(told);
      const whose = running;
      running = null;
      state(told.status === 0 ? `done in ${(told.ms / 1000).toFixed(1)} s` : `ended with status ${told.status}`, !module);
      whose?.then?.();
    } else say(told.type, told.text);
  };
  worker.onerror = () => state("this browser cannot run it: tried are Chromium and Chrome 137 and later", true);
  worker.postMessage({ type: "load", module });
}

// What a run left: files that are new or changed. A page among them is shown.
function took(told) {
  const pages = Object.keys(told.files).filter((path) => path.endsWith(".html") && changed(path, told.files[path]));
  files = told.files;
  remember();
  lists();
  if (files[current]) byId("code").value = text(files[current]);
  if (pages.length) show(pages[pages.length - 1]);
}
function changed(path, now) {
  const before = files[path];
  return !before || before.length !== now.length || before.some((byte, i) => byte !== now[i]);
}

function show(path) {
  byId("shown").hidden = byId("frame").hidden = false;
  byId("page").value = path;
  byId("frame").title = path;
  byId("frame").srcdoc = text(files[path]);
}

function save() {
  current = byId("name").value.trim() || "main.py";
  files[current] = data(byId("code").value);
  remember();
}

function run(argv, then) {
  if (running) return;
  save();
  byId("output").textContent = "";
  running = { then };
  state("running …", true);
  worker.postMessage({ type: "run", argv, files });
}

function stop() {
  worker.terminate();
  running = null;
  say("stderr", "\nstopped\n");
  state("starting again …", true);
  begin();
}

const chapterOf = (path) => path.match(/chapter(\d\d)\.py$/)?.[1];
function edit(path) {
  current = path;
  byId("name").value = path;
  byId("code").value = text(files[path]);
  byId("check").hidden = byId("hint").hidden = !chapterOf(path);
}

let contents = { examples: [], chapters: [] };
function lists() {
  const open = byId("open");
  const group = (label, entries) => {
    const made = document.createElement("optgroup");
    made.label = label;
    made.append(...entries.map(([value, name]) => new Option(name, value)));
    return made;
  };
  open.replaceChildren(
    new Option("…", ""),
    group("your files", Object.keys(files).filter((path) => path.endsWith(".py")).sort().map((path) => [`file:${path}`, path])),
    group("the course", contents.chapters.map(([number, name]) => [`chapter:${number}`, name])),
    group("examples", contents.examples.map(([name]) => [`example:${name}`, name])),
  );
  const pages = Object.keys(files).filter((path) => path.endsWith(".html")).sort();
  byId("page").replaceChildren(...pages.map((path) => new Option(path, path)));
  byId("shown").hidden = pages.length === 0;
}

byId("open").onchange = ({ target }) => {
  const [kind, name] = target.value.split(/:(.*)/);
  if (kind === "file") edit(name);
  if (kind === "example") {
    files[`${name}.py`] ??= data(contents.examples.find(([known]) => known === name)[1]);
    edit(`${name}.py`);
  }
  if (kind === "chapter") {
    const known = () => Object.keys(files).find((path) => chapterOf(path) === name);
    if (known()) edit(known());
    run(["-m", "learn", String(Number(name))], () => known() && edit(known()));
  }
};
byId("page").onchange = ({ target }) => show(target.value);
byId("run").onclick = () => run([byId("name").value]);
byId("step").onclick = () => run(["-m", "step", "--html", "step.html", byId("name").value]);
byId("check").onclick = () => run(["-m", "learn", "check", String(Number(chapterOf(current)))]);
byId("hint").onclick = () => run(["-m", "learn", "hint", String(Number(chapterOf(current)))]);
byId("stop").onclick = stop;
byId("name").onchange = () => save();
byId("link").onclick = async () => {
  const packed = btoa(String.fromCharCode(...data(byId("code").value))).replaceAll("+", "-").replaceAll("/", "_");
  location.hash = `code=${packed}`;
  try {
    await navigator.clipboard.writeText(location.href);
    byId("state").textContent = "the link is in the clipboard";
  } catch {
    byId("state").textContent = "the link is in the address line";
  }
};
byId("code").onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("run").click();
};

const carried = location.hash.match(/^#code=(.*)$/)?.[1];
files = await remembered();
if (carried) {
  try {
    const bytes = atob(carried.replaceAll("-", "+").replaceAll("_", "/"));
    files["linked.py"] = Uint8Array.from(bytes, (c) => c.charCodeAt(0));
    current = "linked.py";
  } catch {
    say("stderr", "the link is broken: its code cannot be read\n");
  }
}
files["main.py"] ??= data(FIRST);
edit(current);
contents = await (await fetch("contents.json")).json();
lists();
if (!("DecompressionStream" in window)) state("this browser cannot run it: tried are Chromium and Chrome 137 and later", true);
else begin();
if ("serviceWorker" in navigator) navigator.serviceWorker.register("offline.js").catch(() => {});
