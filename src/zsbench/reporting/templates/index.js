// The numbers that two runs have in common: suite, dataset and system alike.
const held = JSON.parse(document.getElementById("held").textContent);
const [a, b] = ["a", "b"].map((id) => document.getElementById(id));
{% include "make.js" %}function compare() {
  const rows = [];
  for (const [suite, left] of Object.entries(held[a.value])) {
    const right = held[b.value][suite];
    if (!right || right.metric !== left.metric) continue;
    for (const [system, values] of Object.entries(left.values)) {
      for (const [dataset, value] of Object.entries(values)) {
        const other = right.values[system]?.[dataset];
        if (other !== undefined) rows.push([system, suite, left.titles[dataset] || dataset, left.metric, value, other]);
      }
    }
  }
  const head = ["System", "Suite", "Dataset", "Metric", a.value, b.value, "B − A"];
  const cell = (value) => make("td", value.toFixed(3), { className: "number" });
  document.getElementById("comparison").replaceChildren(
    make("thead", make("tr", head.map((title) => make("th", title, { scope: "col" })))),
    make("tbody", rows.map(([system, suite, dataset, metric, x, y]) => make("tr", [
      make("th", system, { scope: "row" }), make("td", suite), make("td", dataset), make("td", metric), cell(x), cell(y),
      make("td", `${y < x ? "−" : "+"}${Math.abs(y - x).toFixed(3)}`, { className: "number" })]))));
  document.getElementById("hint").textContent = rows.length
    ? `${rows.length} numbers in common. Paired differences with intervals, where the rows are the same: zsbench compare results/${a.value} results/${b.value}`
    : "These two runs have no system and dataset in common.";
}
for (const select of [a, b]) select?.addEventListener("change", compare);
if (a) compare();
