// Draws state timelines and status histories. Grafana has these panels for itself; @grafana/ui has what
// they are made of: the canvas with its axes, the colours and words of the states, and the legend. The
// boxes are drawn here.
const { FieldType } = require('@grafana/data');
const { UPlotChart, UPlotConfigBuilder, VizLegend } = require('@grafana/ui');
import { nameOf, textOf } from './frames.jsx';

const LEGEND_HEIGHT = 30;
const LETTER_WIDTH = 7.2;
const FONT = '12px Inter, "Helvetica Neue", Arial, sans-serif';

/** Runs of equal values, or single values: where each begins and ends. */
function boxesOf(times, values, step, isMerged) {
  const boxes = [];
  values.forEach((value, index) => {
    if (value === null || value === undefined) return;
    const last = boxes.at(-1);
    const from = times[index];
    if (isMerged && last && last.value === value && from - last.to <= 0) last.to = from + step;
    else boxes.push({ from, to: from + step, value });
  });
  return boxes;
}

/** Sums up values so that there are at most so many boxes: a query with fewer points. */
function coarser(times, values, count) {
  const size = Math.ceil(times.length / count);
  const at = (list, index) => list.slice(index * size, (index + 1) * size);
  const length = Math.ceil(times.length / size);
  const most = (list) => list.reduce((most, value) => (value > (most ?? 0) ? value : most), null);
  return {
    times: Array.from({ length }, (_, index) => times[index * size]),
    values: Array.from({ length }, (_, index) => most(at(values, index))),
  };
}

function rowsOf(panel, frames, maximum) {
  const isMerged = panel.type === 'state-timeline';
  return frames.map((frame) => {
    const time = frame.fields.find(({ type }) => type === FieldType.time);
    const field = frame.fields.find(({ type }) => type === FieldType.number);
    const all = { times: [...time.values], values: [...field.values] };
    const { times, values } = isMerged ? all : coarser(all.times, all.values, maximum);
    return { name: nameOf(field), field, boxes: boxesOf(times, values, times[1] - times[0], isMerged) };
  }).filter(({ boxes }) => boxes.length);
}

/** The colour of text on a box, or of all text where the box is faint. */
function textOn(color, theme) {
  return color.startsWith('rgba') ? theme.colors.text.primary : theme.colors.getContrastText(color);
}

function drawRows(plot, rows, { fillOpacity, rowHeight, colWidth, showValue, theme }) {
  const { ctx, bbox } = plot;
  const height = bbox.height / rows.length;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  ctx.font = FONT.replace('12px', `${12 * ratio}px`);
  rows.forEach(({ field, boxes }, row) => {
    for (const { from, to, value } of boxes) {
      const start = Math.max(plot.valToPos(from, 'x', true), bbox.left);
      const end = Math.min(plot.valToPos(to, 'x', true), bbox.left + bbox.width);
      const width = Math.max((end - start) * colWidth, 2 * ratio);
      const { color } = field.display(value);
      ctx.globalAlpha = fillOpacity;
      ctx.fillStyle = color;
      ctx.fillRect(start, bbox.top + height * (row + (1 - rowHeight) / 2), width, height * rowHeight);
      const text = textOf(field, value);
      if (showValue !== 'never' && width > ctx.measureText(text).width + 8 * ratio && height > 14 * ratio) {
        ctx.globalAlpha = 1;
        ctx.fillStyle = textOn(color, theme);
        ctx.fillText(text, start + width / 2, bbox.top + height * (row + 0.5));
      }
    }
  });
  ctx.restore();
}

export function Timeline({ panel, frames, width, height, range, theme }) {
  const rows = rowsOf(panel, frames, panel.maxDataPoints ?? 60);
  const { legend: { showLegend }, rowHeight, colWidth = 1, showValue } = panel.options;
  const builder = new UPlotConfigBuilder('utc');
  builder.addScale({ scaleKey: 'x', isTime: true, orientation: 0, direction: 1, range: () => [range.from.valueOf(), range.to.valueOf()] });
  builder.addScale({ scaleKey: 'y', orientation: 1, direction: -1, range: () => [0, rows.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: 'bottom', timeZone: 'utc', theme, grid: { show: true } });
  builder.addAxis({
    scaleKey: 'y', placement: 'left', theme, grid: { show: false }, ticks: { show: false },
    size: Math.min(LETTER_WIDTH * Math.max(...rows.map(({ name }) => name.length)) + 14, width / 2),
    splits: () => rows.map((_, row) => row + 0.5),
    values: () => rows.map(({ name }) => name),
  });
  const style = { fillOpacity: panel.fieldConfig.defaults.custom.fillOpacity / 100, rowHeight, colWidth, showValue, theme };
  builder.addHook('draw', (plot) => drawRows(plot, rows, style));
  const seen = new Set(rows.flatMap(({ boxes }) => boxes.map(({ value }) => value)));
  const states = Object.keys(panel.fieldConfig.defaults.mappings?.[0].options ?? {}).map(Number).filter((value) => seen.has(value));
  const items = rows.length ? states.map((value) => ({ label: textOf(rows[0].field, value), color: rows[0].field.display(value).color, yAxis: 1 })) : [];
  return (
    <>
      <UPlotChart config={builder} data={[[range.from.valueOf(), range.to.valueOf()]]} width={width} height={height - (showLegend ? LEGEND_HEIGHT : 0)} />
      {showLegend && <VizLegend items={items} displayMode="list" placement="bottom" />}
    </>
  );
}
