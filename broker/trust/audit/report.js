"use strict";
// Sort a table by a column, and show the rows that contain a text.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, index) => row.cells[index].dataset.key ?? row.cells[index].textContent.trim();
  heads.forEach((head, index) => head.firstElementChild.addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => key(a, index).localeCompare(key(b, index), "en", { numeric: true }));
    body.append(...(descending ? rows.reverse() : rows));
  }));
  const filter = table.previousElementSibling.querySelector("input");
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
