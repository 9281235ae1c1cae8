// Python in a worker. It takes {type: "load", module?} and {type: "run", module or file, argv, files}, and answers
// {type: "ready", module, ms}, {type: "stdout" | "stderr", text} as it comes, and {type: "done", status, error, files, ms}.
import { Directory, Fd, File, OpenFile, PreopenDirectory, WASI, wasi as defs } from "./wasi/index.js";

const decoder = { stdout: new TextDecoder(), stderr: new TextDecoder() };
const lib = new Directory(new Map()); // stays from run to run, and what Python compiled there with it
let compiled, library;

class Stream extends Fd {
  constructor(kind) {
    super();
    this.kind = kind;
  }
  fd_fdstat_get() {
    const stat = new defs.Fdstat(defs.FILETYPE_CHARACTER_DEVICE, 0);
    stat.fs_rights_base = BigInt(defs.RIGHTS_FD_WRITE);
    return { ret: 0, fdstat: stat };
  }
  fd_filestat_get() {
    return { ret: 0, filestat: new defs.Filestat(0n, defs.FILETYPE_CHARACTER_DEVICE, 0n) };
  }
  fd_write(data) {
    postMessage({ type: this.kind, text: decoder[this.kind].decode(data.slice(), { stream: true }) });
    return { ret: 0, nwritten: data.byteLength };
  }
}

async function bytes(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function load(module) {
  const begun = performance.now();
  if (module) compiled = module;
  else {
    const answer = await fetch("python.wasm.gz");
    if (!answer.ok) throw new Error(`python.wasm.gz: ${answer.status}`);
    const unpacked = answer.body.pipeThrough(new DecompressionStream("gzip"));
    compiled = await WebAssembly.compileStreaming(new Response(unpacked, { headers: { "Content-Type": "application/wasm" } }));
  }
  library = new File(await bytes("python.zip"));
  lib.contents.set("minigrad.zip", new File(await bytes("minigrad.zip")));
  const { status, error } = start("import minigrad, minigrad.__main__", [], folder({}));
  if (status !== 0) throw new Error(error || "minigrad did not start");
  postMessage({ type: "ready", module: compiled, ms: performance.now() - begun });
}

const folder = (entries) => new Directory(new Map(Object.entries(entries)));

const PRELUDE = `
import os, sys
sys.dont_write_bytecode = False  # /lib stays: the next run need not compile
if not os.path.isdir("/lib/site/minigrad"):
    import zipfile
    with zipfile.ZipFile("/lib/minigrad.zip") as archive:
        archive.extractall("/lib/site")
sys.path.insert(0, "/lib/site")
os.chdir("/work")
`;

// Run code in a fresh Python, in which /work is a folder of files: {status, error}.
function start(code, argv, work) {
  const usr = folder({ local: folder({ lib: folder({ "python315.zip": library, "python3.15": folder({}) }) }) });
  const root = new PreopenDirectory("/", new Map(Object.entries({ usr, lib, work, tmp: folder({}) })));
  const streams = [new OpenFile(new File([])), new Stream("stdout"), new Stream("stderr")];
  const env = ["HOME=/work", "TMPDIR=/tmp", "PYTHONTZPATH=", "COLUMNS=88", "NO_COLOR=1"];
  const system = new WASI(["python", "-c", PRELUDE + code, ...argv], env, [...streams, root], { debug: false });
  const imports = { wasi_snapshot_preview1: system.wasiImport };
  for (const wanted of WebAssembly.Module.imports(compiled)) {
    if (wanted.module !== "wasi_snapshot_preview1") (imports[wanted.module] ??= {})[wanted.name] = () => -1; // no host to ask
  }
  try {
    const instance = new WebAssembly.Instance(compiled, imports);
    system.inst = instance;
    instance.exports._initialize?.();
    return { status: instance.exports.run(), error: "" };
  } catch (error) {
    return { status: -1, error: String(error) };
  }
}

const RUN = `
import runpy
sys.argv[0], target = sys.argv[1], sys.argv.pop(1)
if target == "-m":
    sys.argv[0] = "minigrad"
    from minigrad import __main__ as command
    from minigrad.tools import cli
    cli.run(command.main)
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(target)))
    runpy.run_path(target, run_name="__main__")
`;

// Files by path, as a tree of folders, and back.
function tree(files) {
  const top = folder({});
  for (const [path, data] of Object.entries(files)) {
    const parts = path.split("/");
    const name = parts.pop();
    let at = top;
    for (const part of parts) {
      if (!at.contents.has(part)) at.contents.set(part, folder({}));
      at = at.contents.get(part);
    }
    at.contents.set(name, new File(data));
  }
  return top;
}

function flat(directory, before = "", found = {}) {
  for (const [name, entry] of directory.contents) {
    if (name === "__pycache__" || name.startsWith(".minigrad-")) continue;
    if (entry instanceof Directory) flat(entry, `${before}${name}/`, found);
    else found[before + name] = entry.data.slice();
  }
  return found;
}

onmessage = async ({ data }) => {
  try {
    if (data.type === "load") return await load(data.module);
    const begun = performance.now();
    const work = tree(data.files);
    const { status, error } = start(RUN, data.argv, work);
    for (const kind of ["stdout", "stderr"]) postMessage({ type: kind, text: decoder[kind].decode() });
    postMessage({ type: "done", status, error, files: flat(work), ms: performance.now() - begun });
  } catch (error) {
    postMessage({ type: "done", status: -1, error: String(error), files: null, ms: 0 });
  }
};
