"use strict";
// Tables that can be sorted by a click on a column's heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const usual = column ? "descending" : "ascending"; // names from A on, figures from the largest
      const turned = heading.getAttribute("aria-sort") === usual;
      const order = turned === (usual === "descending") ? "ascending" : "descending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is not known comes last
        const rise = column ? x - y : x.localeCompare(y);
        return order === "ascending" ? rise : -rise;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// The videos that match what is typed.
const tools = document.getElementById("tools");
if (tools) {
  const text = document.getElementById("find");
  const wrong = document.getElementById("only-wrong");
  const rows = [...document.querySelectorAll(".videos > li")].map((row) => [row, row.dataset.find.toLowerCase()]);
  const update = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, found] of rows) {
      row.hidden = !words.every((word) => found.includes(word)) || (wrong.checked && row.dataset.right === "1");
      shown += !row.hidden;
    }
    const rest = document.getElementById("rest");
    if (rest && (words.length || wrong.checked)) rest.open = true;
    document.getElementById("shown").textContent = `${shown} of ${rows.length} shown`;
  };
  text.addEventListener("input", update);
  wrong.addEventListener("change", update);
  tools.hidden = false;
}
