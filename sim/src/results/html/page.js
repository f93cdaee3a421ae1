"use strict";
// Positions of a curve in tenths of a pixel, as pieces without gaps.
function pieces(path) {
  const all = [];
  let x = 0, y = 0, relative = false, numbers = [];
  for (const token of path.getAttribute("d").match(/[Mlh]|-?\d+/g) || []) {
    if (token === "M") { all.push([]); relative = false; numbers = []; continue; }
    if (token === "l") { relative = true; continue; }
    if (token === "h") continue;
    numbers.push(Number(token));
    if (numbers.length < 2) continue;
    x = relative ? x + numbers[0] : numbers[0];
    y = relative ? y + numbers[1] : numbers[1];
    numbers = [];
    all[all.length - 1].push([x, y]);
  }
  return all;
}
function heightAt(all, x) {
  for (const piece of all) {
    const next = piece.findIndex((point) => point[0] >= x);
    if (next < 0 || piece[0][0] > x + 10) continue;
    const b = piece[next], a = piece[Math.max(next - 1, 0)];
    return b[0] === a[0] ? b[1] : a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0]);
  }
  return null;
}
function readAxis(text) {
  const [kind, min, max] = text.split(" ");
  const low = Number(min), high = Number(max);
  return kind === "log" ? (part) => low * Math.pow(high / low, part) : (part) => low + (high - low) * part;
}
function show(value) {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
for (const svg of document.querySelectorAll(".chart > svg")) {
  const figure = svg.parentElement;
  const [left, top, width, height] = svg.dataset.frame.split(" ").map(Number);
  const xValue = readAxis(svg.dataset.x), yValue = readAxis(svg.dataset.y);
  const curves = [...svg.querySelectorAll("path[data-curve]")];
  const labels = [...figure.querySelectorAll(".legend button")];
  const cursor = document.createElementNS(svg.namespaceURI, "line");
  cursor.setAttribute("class", "cursor");
  const tip = document.createElement("div");
  tip.className = "tip";
  let parsed = null;
  labels.forEach((label, index) => label.addEventListener("click", () => {
    label.classList.toggle("off");
    for (const path of svg.querySelectorAll(`[data-curve="${index}"],[data-area="${index}"]`)) path.classList.toggle("hidden");
  }));
  // Bars have their values with them.
  if (!curves.length) continue;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const unit = box.width / svg.viewBox.baseVal.width;
    const x = (event.clientX - box.left) / unit - left;
    if (x < 0 || x > width) return leave();
    parsed = parsed || curves.map(pieces);
    cursor.setAttribute("x1", left + x); cursor.setAttribute("x2", left + x);
    cursor.setAttribute("y1", top); cursor.setAttribute("y2", top + height);
    svg.append(cursor);
    tip.replaceChildren();
    const head = document.createElement("b");
    head.textContent = `${show(xValue(x / width))} ${svg.dataset.xunit}`;
    const table = document.createElement("table");
    let below = 0;
    parsed.forEach((all, index) => {
      const y = heightAt(all, x * 10);
      if (y === null) return;
      const value = yValue(1 - y / 10 / height);
      const own = svg.dataset.stacked ? value - below : value;
      below = value;
      if (labels[index].classList.contains("off")) return;
      const row = table.insertRow(0);
      row.insertCell().append(labels[index].querySelector("svg").cloneNode(true));
      row.insertCell().textContent = labels[index].textContent;
      row.insertCell().textContent = `${show(own)} ${svg.dataset.yunit}`;
    });
    if (!svg.dataset.stacked) table.tBodies[0] && table.tBodies[0].append(...[...table.rows].reverse());
    tip.append(head, table);
    figure.append(tip);
    const place = event.clientX - figure.getBoundingClientRect().left;
    const right = place + tip.offsetWidth + 24 > figure.clientWidth;
    tip.style.left = `${right ? Math.max(place - tip.offsetWidth - 14, 0) : place + 14}px`;
    tip.style.top = `${svg.offsetTop + 30}px`;
  });
  const leave = () => { cursor.remove(); tip.remove(); };
  svg.addEventListener("pointerleave", leave);
}
const panel = document.getElementById("cell");
function choose(td) {
  for (const other of document.querySelectorAll(".chosen")) other.classList.remove("chosen");
  td.classList.add("chosen");
  const text = td.closest(".maps").querySelector(`.cell-text[data-for="${td.dataset.cell}"]`);
  panel.innerHTML = text.innerHTML;
  panel.hidden = false;
}
for (const td of document.querySelectorAll("td[data-cell]")) {
  td.addEventListener("click", () => choose(td));
  td.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(td); });
}
document.addEventListener("click", (event) => {
  if (!event.target.matches(".copy")) return;
  const code = event.target.parentElement.querySelector("code");
  const range = document.createRange();
  range.selectNodeContents(code);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  const done = () => { event.target.textContent = "copied"; };
  if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, () => {});
  else if (document.execCommand("copy")) done();
});
