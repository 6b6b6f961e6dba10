"use strict";
// Sort tables by a click on a column heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const initial = column ? "descending" : "ascending"; // names from A on, numbers from the largest
      const reversed = heading.getAttribute("aria-sort") === initial;
      const order = reversed === (initial === "descending") ? "ascending" : "descending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // unknown values come last
        const ascending = column ? x - y : x.localeCompare(y);
        return order === "ascending" ? ascending : -ascending;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// Show the videos that match the search.
const tools = document.getElementById("tools");
if (tools) {
  const text = document.getElementById("find");
  const onlyWrong = document.getElementById("only-wrong");
  const rows = [...document.querySelectorAll(".videos > li")].map((row) => [row, row.dataset.find.toLowerCase()]);
  const update = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, searchable] of rows) {
      row.hidden = !words.every((word) => searchable.includes(word)) || (onlyWrong.checked && row.dataset.right === "1");
      shown += !row.hidden;
    }
    const rest = document.getElementById("rest");
    if (rest && (words.length || onlyWrong.checked)) rest.open = true;
    document.getElementById("shown").textContent = `${shown} of ${rows.length} shown`;
  };
  text.addEventListener("input", update);
  onlyWrong.addEventListener("change", update);
  tools.hidden = false;
}
