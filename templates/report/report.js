/* SPDX-License-Identifier: Apache-2.0 */
"use strict";
/* Details of a step: a click, or Enter, on a node of the picture or a row of the table. */
function show(id) {
  const found = document.getElementById(id);
  if (!found) return;
  const open = found.hidden;
  document.querySelectorAll(".detail").forEach((d) => { d.hidden = true; });
  document.querySelectorAll(".chosen").forEach((n) => n.classList.remove("chosen"));
  found.hidden = !open;
  if (open) {
    document.querySelectorAll(`[data-show="${id}"]`).forEach((n) => n.classList.add("chosen"));
    found.scrollIntoView({ block: "nearest" });
  }
}
/* The picture: dragging moves it, the wheel zooms about the pointer. A drag is no click. */
document.querySelectorAll("[data-pan]").forEach((view) => {
  const svg = view.querySelector("svg"), width = +svg.getAttribute("width"), height = +svg.getAttribute("height");
  let x = 0, y = 0, scale = 1, from = null, moved = false;
  const draw = () => {
    svg.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  };
  const fit = () => {
    scale = Math.min(1, view.clientWidth / width);
    x = Math.max(0, (view.clientWidth - width * scale) / 2);
    y = 0;
    draw();
  };
  const zoom = (factor, px, py) => {
    const next = Math.min(4, Math.max(0.05, scale * factor));
    x = px - (px - x) * next / scale;
    y = py - (py - y) * next / scale;
    scale = next;
    draw();
  };
  view.classList.add("live");
  view.style.height = `${Math.min(560, height + 8)}px`;
  fit();
  window.addEventListener("resize", fit);
  view.addEventListener("pointerdown", (e) => { from = [e.clientX - x, e.clientY - y]; moved = false; });
  window.addEventListener("pointerup", () => { from = null; });
  view.addEventListener("pointermove", (e) => {
    if (!from) return;
    const [nx, ny] = [e.clientX - from[0], e.clientY - from[1]];
    moved = moved || Math.hypot(nx - x, ny - y) > 3;
    if (moved) { x = nx; y = ny; draw(); }
  });
  view.addEventListener("click", (e) => { if (moved) { e.stopPropagation(); moved = false; } }, true);
  view.addEventListener("wheel", (e) => {
    e.preventDefault();
    const box = view.getBoundingClientRect();
    zoom(Math.exp(-e.deltaY / 400), e.clientX - box.left, e.clientY - box.top);
  }, { passive: false });
  view.parentElement.querySelectorAll("[data-zoom]").forEach((b) => b.addEventListener("click", () => {
    +b.dataset.zoom ? zoom(+b.dataset.zoom, view.clientWidth / 2, view.clientHeight / 2) : fit();
  }));
});
document.querySelectorAll("[data-show]").forEach((n) => {
  n.addEventListener("click", () => show(n.dataset.show));
  n.addEventListener("keydown", (e) => { if (e.key === "Enter") show(n.dataset.show); });
});
/* Tables: a click on a heading sorts, another one turns the order round. */
document.querySelectorAll("table.sortable th").forEach((head) => head.addEventListener("click", () => {
  const at = head.cellIndex, body = head.closest("table").tBodies[0], down = head.dataset.order !== "down";
  const value = (row) => {
    const cell = row.cells[at], text = cell.dataset.v ?? cell.textContent.trim();
    return text !== "" && !isNaN(text) ? +text : text;
  };
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));
  [...body.rows].map((row) => [value(row), row]).sort((a, b) => (down ? -1 : 1) * order(a[0], b[0])).forEach((pair) => body.append(pair[1]));
  head.closest("tr").querySelectorAll("th").forEach((h) => { delete h.dataset.order; });
  head.dataset.order = down ? "down" : "up";
}));
