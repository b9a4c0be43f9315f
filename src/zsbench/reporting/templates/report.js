// Sorting by the number in data-sort where a column holds numbers; cells without one go last.
Tablesort.extend("value", () => false, (a, b) => {
  const [x, y] = [a, b].map((text) => (text === "" || isNaN(text) ? -Infinity : Number(text)));
  return x === y ? 0 : y - x;
});
for (const table of document.querySelectorAll("table.sortable")) new Tablesort(table, { descending: true });

// A long table shows its first rows; a filter, a sort or the button below it shows all.
const unfold = (box) => {
  box.querySelector(".short")?.classList.remove("short");
  box.querySelector(".all")?.remove();
};
for (const button of document.querySelectorAll(".all")) {
  button.addEventListener("click", () => unfold(button.closest(".table")));
  button.closest(".table").querySelector("table").addEventListener("beforeSort", (event) => unfold(event.target.closest(".table")));
}
for (const input of document.querySelectorAll(".filter input")) {
  const rows = document.getElementById(input.getAttribute("aria-controls")).querySelectorAll("tbody tr:not(.heading)");
  input.addEventListener("input", () => {
    unfold(input.closest(".table"));
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(input.value.toLowerCase());
  });
}
for (const box of document.querySelectorAll(".choice input")) {
  box.addEventListener("change", () => {
    for (const row of box.closest(".table").querySelectorAll("tr:not(.heading)")) row.cells[box.dataset.column].hidden = !box.checked;
  });
}

// A cell: #cell/SUITE/DATASET/SYSTEM opens what the page holds of it.
const held = JSON.parse(document.getElementById("cells")?.textContent || "{}");
const dialog = document.getElementById("cell");
{% include "make.js" %}const grid = (titles, rows, caption) => make("div", make("table", [
  make("caption", caption),
  make("thead", make("tr", titles.map((title) => make("th", title, { scope: "col" })))),
  make("tbody", rows.map((row) => make("tr", row.map((cell, place) => (place ? make("td", cell) : make("th", cell, { scope: "row" })))))),
]), { className: "scroll", tabIndex: 0 });
const shade = (count, total) => {
  const cell = make("span", count ? String(count) : "·", { className: "count" });
  cell.style.setProperty("--share", `${Math.round((100 * count) / Math.max(total, 1))}%`);
  return cell;
};
const number = (value) => (value === null ? "–" : value.toFixed(3));
function describe(cell) {
  const parts = [make("h2", cell.title, { id: "cell-title" }), make("dl", cell.facts.map(([key, value]) => make("div", [make("dt", key), make("dd", String(value))])), { className: "card" })];
  const names = cell.labels.map((label) => label.name);
  const cuts = cell.labels.some((label) => label.threshold !== null);
  parts.push(grid(["Label", "gold", "given", "right", "F1", ...(cuts ? ["threshold"] : [])], cell.labels.map((label) =>
    [label.name, ...[label.gold, label.given, label.right].map(String), number(label.f1), ...(cuts ? [number(label.threshold)] : [])]), "F1 by label"));
  if (cell.confusion) {
    parts.push(grid(["gold \\ given", ...names.map((_, k) => String(k + 1))], cell.confusion.map((row, k) =>
      [`${k + 1} ${names[k]}`, ...row.map((count) => shade(count, row.reduce((a, b) => a + b, 0)))]), "Confusion matrix: rows are gold labels, columns are answers"));
  }
  const texts = held.texts[cell.dataset];
  parts.push(make("h3", `${cell.errors} of ${cell.rows} rows are wrong`));
  if (cell.errors && !texts) parts.push(make("p", "The licence of this data set does not allow its texts here."));
  for (const [id, gold, given, scores] of texts ? cell.wrong : []) {
    const said = (list) => list.map((k) => names[k]).join(", ") || "no label";
    parts.push(make("blockquote", [make("p", texts[id]), make("p", `gold: ${said(gold)} · given: ${said(given)}`, { className: "verdict" }),
      make("p", scores.map(([k, score]) => `${names[k]} ${score}`).join(" · "), { className: "muted" })]));
  }
  return parts;
}
function follow() {
  const cell = held.cells?.[decodeURIComponent(location.hash.replace("#cell/", ""))];
  if (!cell) return;
  document.getElementById("cell-body").replaceChildren(...describe(cell));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}
dialog?.addEventListener("close", () => history.replaceState(null, "", "#"));
dialog?.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
addEventListener("hashchange", follow);
follow();
