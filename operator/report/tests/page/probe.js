// Waits until every chart is drawn, and writes what it sees where the test finds it.
"use strict";

const drawn = () => [...document.querySelectorAll(".chart")].every((chart) => chart.querySelector(".main-svg .xtick"));
const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

function describe(chart) {
  const shapes = [...chart.querySelectorAll(".scatterlayer path")].map((path) => path.getAttribute("d") ?? "");
  const marks = shapes.filter((shape) => shape.length > 10);
  return { id: chart.id, width: chart.querySelector(".main-svg").getBoundingClientRect().width, marks: marks.length, shapes: marks.join("|").slice(0, 2000) };
}

async function tell() {
  while (!drawn()) await pause();
  const charts = [...document.querySelectorAll(".chart")];
  const told = {
    complaints: window.complaints,
    window: innerWidth,
    content: document.documentElement.scrollWidth,
    paper: getComputedStyle(document.body).backgroundColor,
    card: getComputedStyle(document.querySelector(".chart .main-svg")).backgroundColor,
    ink: getComputedStyle(document.querySelector(".chart .xtick text")).fill,
    charts: charts.map(describe),
    chosen: [],
  };
  for (const choice of document.querySelectorAll("#site-1 select[data-chart]")) {
    choice.selectedIndex = 1;
    choice.dispatchEvent(new Event("change"));
    await pause();
    await pause();
    told.chosen.push(describe(document.getElementById(choice.dataset.chart)));
  }
  const pre = document.createElement("pre");
  pre.id = "told";
  pre.textContent = JSON.stringify(told);
  document.body.append(pre);
}

tell();
