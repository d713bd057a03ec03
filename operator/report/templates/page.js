"use strict";

const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
// A finger that draws a rectangle wants to scroll.
const dragmode = matchMedia("(hover: hover)").matches ? "zoom" : false;
const config = { responsive: true, displaylogo: false, displayModeBar: false };

/** What of a chart depends on light and dark, from the style of the page. */
function template() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--faint") };
  return {
    layout: {
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      paper_bgcolor: colour("--card"),
      plot_bgcolor: colour("--card"),
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      xaxis: axis,
      yaxis: axis,
    },
  };
}

async function draw() {
  for (const [id, { data, layout }] of Object.entries(figures)) {
    // Plotly changes the traces that it is given.
    const traces = data.map((trace) => ({ ...trace }));
    await Plotly.newPlot(id, traces, { ...layout, dragmode, template: template() }, config);
  }
}

/** What a choice does to the chart that it belongs to. */
const roles = {
  policy: (data, policy) => ({ visible: data.map((trace) => trace.meta === policy) }),
  baseline: (data, policy) => {
    const baseline = data.find((trace) => trace.name === policy)?.y ?? [0];
    // The bound has one point, at the end, and nothing is zero all the time.
    const from = (y, index) => baseline[y.length === 1 ? baseline.length - 1 : index] ?? 0;
    return { y: data.map(({ y }) => y.map((value, index) => value - from(y, index))) };
  },
};

for (const choice of document.querySelectorAll("select[data-chart]")) {
  const { chart, role } = choice.dataset;
  choice.addEventListener("change", () => Plotly.restyle(chart, roles[role](figures[chart].data, choice.value)));
}

dark.addEventListener("change", () => {
  for (const id of Object.keys(figures)) {
    Plotly.relayout(id, { template: template() });
  }
});

draw();
