"use strict";
// Draws the gates of each LSTM: four heat maps of all units, and the curves of one unit, chosen by a slider.
const CODE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SEQUENTIAL = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const AROUND_ZERO = [[5, 72, 148], [120, 170, 215], [245, 245, 245], [240, 150, 110], [165, 20, 30]];
const LINES = { i: "#e69f00", f: "#009e73", o: "#cc79a7", c: "#0078be" };

function decode(text) {
  return Array.from(text, (character) => CODE.indexOf(character) / 63);
}

function colour(stops, share) {
  const place = share * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  return stops[below].map((low, k) => low + (stops[below + 1][k] - low) * (place - below));
}

function heatMap(canvas, values, data, stops, chosen) {
  canvas.width = data.steps;
  canvas.height = data.units;
  const context = canvas.getContext("2d");
  const image = context.createImageData(data.steps, data.units);
  data.order.forEach((unit, row) => {
    for (let t = 0; t < data.steps; t++) {
      const rgb = colour(stops, values[unit * data.steps + t]);
      const at = 4 * (row * data.steps + t);
      rgb.forEach((part, k) => { image.data[at + k] = part; });
      image.data[at + 3] = chosen === null || row === chosen ? 255 : 150;
    }
  });
  context.putImageData(image, 0, 0);
}

function svgElement(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  parent.appendChild(element);
  return element;
}

// Triangles above a heat map, at the steps whose input must be remembered.
function ticks(svg, data) {
  svg.setAttribute("viewBox", "0 0 1000 20");
  svg.setAttribute("preserveAspectRatio", "none");
  for (const t of data.relevant) {
    const x = (1000 * (t + 0.5)) / data.steps;
    svgElement("path", { d: `M${x - 10} 0 H${x + 10} L${x} 20 Z`, fill: "currentColor" }, svg);
  }
}

function unitCurves(svg, values, data, unit) {
  svg.replaceChildren();
  const [left, top, width, height] = [34, 8, 510, 160];
  svg.setAttribute("viewBox", "0 0 560 200");
  for (const [share, text] of [[0, "0"], [0.5, "0.5"], [1, "1"]]) {
    const y = top + height * (1 - share);
    svgElement("path", { d: `M${left} ${y} H${left + width}`, stroke: "currentColor", opacity: 0.15 }, svg);
    svgElement("text", { x: left - 6, y: y + 4, "text-anchor": "end", "font-size": 12, fill: "currentColor" }, svg)
      .textContent = text;
  }
  const x = (t) => left + (width * (t + 0.5)) / data.steps;
  for (const t of data.relevant) {
    svgElement("path", { d: `M${x(t)} ${top} V${top + height}`, stroke: "currentColor", opacity: 0.5,
      "stroke-dasharray": "3 4" }, svg);
  }
  for (const gate of ["i", "f", "o", "c"]) {
    const points = [];
    for (let t = 0; t < data.steps; t++) {
      points.push(`${x(t).toFixed(1)},${(top + height * (1 - values[gate][unit * data.steps + t])).toFixed(1)}`);
    }
    svgElement("polyline", { points: points.join(" "), fill: "none", stroke: LINES[gate], "stroke-width": 2 }, svg);
  }
  svgElement("text", { x: left + width / 2, y: top + height + 24, "text-anchor": "middle", "font-size": 13,
    fill: "currentColor" }, svg).textContent = "time step";
}

const all = JSON.parse(document.getElementById("gate-data").textContent);
document.querySelectorAll(".gates").forEach((section, k) => {
  const data = all[k];
  const values = Object.fromEntries(["i", "f", "o", "c"].map((gate) => [gate, decode(data[gate])]));
  const slider = section.querySelector("input");
  const output = section.querySelector("output");
  section.querySelectorAll(".marks").forEach((svg) => ticks(svg, data));
  const draw = (chosen) => {
    section.querySelectorAll("canvas").forEach((canvas) => {
      const gate = canvas.dataset.gate;
      heatMap(canvas, values[gate], data, gate === "c" ? AROUND_ZERO : SEQUENTIAL, chosen);
    });
    const row = chosen === null ? 0 : chosen;
    output.textContent = `unit ${data.order[row]}`;
    unitCurves(section.querySelector(".unit"), values, data, data.order[row]);
  };
  slider.max = data.units - 1;
  slider.addEventListener("input", () => draw(Number(slider.value)));
  draw(null);
});
