// Sorting by the number in data-sort where a column holds numbers; cells without one go last.
Tablesort.extend("value", () => false, (a, b) => {
  const [x, y] = [a, b].map((text) => (text === "" || isNaN(text) ? -Infinity : Number(text)));
  return x === y ? 0 : y - x;
});
for (const table of document.querySelectorAll("table.sortable")) new Tablesort(table, { descending: true });
// A figure's svg link saves the picture that the page holds already.
for (const link of document.querySelectorAll("a.picture")) link.href = link.closest("figure").querySelector("img").src;
