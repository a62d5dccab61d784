// The graph of a port, by uPlot, which is loaded when it is first wanted. Packets in go up, packets out go down.

import { steps } from "./spark.js";
import { short } from "./words.js";

const HEIGHT = 220;

let loading;
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/// Times in seconds, packets in a second, and packets out a second below zero.
function data(history, minutes) {
  const first = Date.parse(history.until) - minutes * 60_000;
  const shown = steps(history).filter(step => step.begin >= first);
  const rate = (step, value) => value * 1000 / step.length;
  return [shown.map(step => step.begin / 1000), shown.map(step => rate(step, step.in)), shown.map(step => -rate(step, step.out))];
}

function options(uPlot, width) {
  const text = colour("--text"), line = colour("--line");
  const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
  const series = (label, name) => ({ label, stroke: colour(name), fill: `${colour(name)}33`, width: 1.5, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, value: (_, value) => value === null ? "–" : short(Math.abs(value)) });
  return {
    width, height: HEIGHT, legend: { live: true }, cursor: { drag: { x: true, y: false } },
    axes: [{ ...axis, values: [[60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] }, { ...axis, size: 56, values: (_, values) => values.map(value => short(Math.abs(value))) }],
    scales: { y: { range: (_, low, high) => { const most = Math.max(1, high, -low); return [low < 0 ? -most * 1.1 : 0, most * 1.1]; } } },
    series: [{ label: "time", value: "{HH}:{mm}:{ss}" }, series("in", "--in"), series("out", "--out")],
  };
}

/// Draws the last minutes of `history` into `box`, or moves what is drawn there on.
export async function drawChart(box, history, minutes) {
  loading ||= import("./vendor/uplot.js");
  const { default: uPlot } = await loading;
  if (!box.isConnected || !history) return;
  const look = colour("--text"), values = data(history, minutes);
  if (box.chart && box.look === look) return box.chart.setData(values);
  box.chart?.destroy();
  box.look = look;
  const width = () => Math.max(240, box.clientWidth);
  box.chart = new uPlot(options(uPlot, width()), values, box);
  box.observer?.disconnect();
  box.observer = new ResizeObserver(() => box.chart.width !== width() && box.chart.setSize({ width: width(), height: HEIGHT }));
  box.observer.observe(box);
}
