// The page of the doctor: findings with their curves, then gradients, updates and units of the whole run.

const found = readData();
// A histogram: [lowest, highest, counts ...].
function bars(caption, [low, high, ...counts]) {
  const width = 340, height = 110, bottom = 18, most = Math.max(1, ...counts);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${caption}: a histogram from ${format(low)} to ${format(high)}` });
  counts.forEach((count, i) => {
    const tall = (count / most) * (height - bottom - 6), wide = width / counts.length;
    svg.append(shape("rect", { class: "bar", x: i * wide + 1, width: wide - 2, y: height - bottom - tall, height: tall }));
  });
  svg.append(shape("text", { x: 4, y: height - 5 }, format(low)), shape("text", { x: width - 4, y: height - 5, "text-anchor": "end" }, format(high)));
  return element("figure", {}, element("figcaption", {}, caption), svg);
}

const byId = (id) => document.getElementById(id);
byId("title").textContent = found.title;
byId("summary").textContent = found.summary;

for (const [i, finding] of found.findings.entries()) {
  const facts = element("dl", {});
  const say = (name, ...text) => facts.append(element("dt", {}, name), element("dd", {}, ...text));
  if (finding.line) say("where", `${finding.line.file}, line ${finding.line.number}`, element("pre", {}, finding.line.text));
  say("seen", finding.evidence);
  say("mend", finding.mend);
  say("read", finding.chapter);
  const drawn = [];
  const names = Object.keys(finding.curves);
  if (names.length) drawn.push(curves(names.length === 1 ? names[0] : "over the steps", finding.curves));
  for (const [name, values] of Object.entries(finding.bars)) drawn.push(bars(name, values));
  byId("findings").append(element("article", {}, element("h2", {}, `${i + 1}. ${finding.title}`), facts, element("div", { class: "charts" }, ...drawn)));
}
if (!found.findings.length) byId("findings").append(element("article", { class: "healthy" }, element("h2", {}, "Nothing found that is wrong")));

const whole = found.chart;
const several = [["Loss", { loss: whole.loss }], ["Gradient sizes, as backward left them", whole.gradients], ["Update to weight", whole.updates], ["Share of units that do nothing", whole.dead]];
byId("run").append(...several.map(([caption, lines]) => curves(caption, lines)).filter((figure) => figure !== null));
const histograms = Object.entries(whole.histograms);
byId("units").hidden = !histograms.length;
byId("histograms").append(...histograms.map(([name, values]) => bars(name, values)));
