"use strict";
const value = (cell) => {
  const text = cell.dataset.v ?? cell.textContent.trim().replaceAll(",", "");
  return text === "" || Number.isNaN(Number(text)) ? cell.textContent.trim() : Number(text);
};
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    // No <button>: browsers repeat no table head on paper that holds one.
    const button = document.createElement("span");
    button.role = "button";
    button.tabIndex = 0;
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        button.click();
      }
    });
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
      const sign = direction === "ascending" ? 1 : -1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => sign * compare(value(a.cells[column]), value(b.cells[column]))));
    });
  });
}
for (const frame of document.querySelectorAll(".tall")) {
  const rows = [...frame.querySelectorAll("tbody tr")];
  const label = document.createElement("label");
  const field = document.createElement("input");
  const found = document.createElement("output");
  label.className = "search";
  field.type = "search";
  label.append(`Search ${frame.ariaLabel.toLowerCase()} `, field, " ", found);
  frame.before(label);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    rows.forEach((row) => (row.hidden = !row.textContent.toLowerCase().includes(wanted)));
    found.value = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
}
// What scrolls sideways here must be reached by keys too; how wide a table is only the browser knows.
const sizes = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const hint = target.previousElementSibling?.matches(".sideways") ? target.previousElementSibling : null;
    if (target.scrollWidth > target.clientWidth + 1) {
      if (!hint) {
        const text = document.createElement("p");
        text.className = "sideways small";
        text.textContent = "Wider than the screen: scroll it sideways →";
        target.before(text);
      }
      Object.assign(target, { tabIndex: 0, role: "region", ariaLabel: target.ariaLabel ?? target.querySelector("caption").textContent });
    } else {
      hint?.remove();
    }
  }
});
document.querySelectorAll(".table").forEach((frame) => sizes.observe(frame));
