// Draws a state timeline. Grafana has that panel for itself; @grafana/ui has what it is made of: the
// canvas with its axes, the colours and words of the states, and the legend. The boxes are drawn here.
const { FieldColorModeId, getDisplayProcessor, FieldType } = require('@grafana/data');
const { UPlotChart, UPlotConfigBuilder, VizLegend } = require('@grafana/ui');

const LEGEND_HEIGHT = 28;
const LETTER_WIDTH = 7;

/** Runs of equal values: where each begins, where it ends, and the value; none where there is none. */
function runsOf(values, step) {
  const runs = [];
  for (const [time, value] of values) {
    const last = runs.at(-1);
    if (last && last.value === value && time - last.to <= step) {
      last.to = time + step;
    } else {
      runs.push({ from: time, to: time + step, value });
    }
  }
  return runs;
}

/** Colour and word of every state that the panel names. */
function statesOf(panel, theme) {
  const config = { ...panel.fieldConfig.defaults, color: { mode: FieldColorModeId.Fixed } };
  const display = getDisplayProcessor({ field: { type: FieldType.number, config }, theme });
  return Object.keys(config.mappings[0].options).map((value) => ({ value: Number(value), ...display(Number(value)) }));
}

function drawRows(plot, rows, states, fill) {
  const { ctx, bbox } = plot;
  const height = bbox.height / rows.length;
  ctx.save();
  rows.forEach(({ runs }, row) => {
    for (const { from, to, value } of runs) {
      const start = Math.max(plot.valToPos(from, 'x', true), bbox.left);
      const end = Math.min(plot.valToPos(to, 'x', true), bbox.left + bbox.width);
      ctx.globalAlpha = fill;
      ctx.fillStyle = states.find((state) => state.value === value)?.color ?? '#808080';
      ctx.fillRect(start, bbox.top + height * (row + 0.05), end - start, height * 0.9);
    }
  });
  ctx.restore();
}

export function Timeline({ panel, series, width, height, range, theme }) {
  const step = 15_000;
  const rows = series.map(({ name, values }) => ({
    name,
    runs: runsOf(values.map(([time, value]) => [time * 1000, Number(value)]), step),
  }));
  const states = statesOf(panel, theme);
  const { fillOpacity } = panel.fieldConfig.defaults.custom;
  const builder = new UPlotConfigBuilder('utc');
  builder.addScale({ scaleKey: 'x', isTime: true, orientation: 0, direction: 1, range: () => [range.from.valueOf(), range.to.valueOf()] });
  builder.addScale({ scaleKey: 'y', orientation: 1, direction: -1, range: () => [0, rows.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: 'bottom', timeZone: 'utc', theme, grid: { show: true } });
  builder.addAxis({
    scaleKey: 'y', placement: 'left', theme, size: LETTER_WIDTH * Math.max(...rows.map(({ name }) => name.length)) + 12, grid: { show: false }, ticks: { show: false },
    splits: () => rows.map((_, row) => row + 0.5),
    values: () => rows.map(({ name }) => name),
  });
  builder.addHook('draw', (plot) => drawRows(plot, rows, states, fillOpacity / 100));
  const data = [[range.from.valueOf(), range.to.valueOf()]];
  const items = states.map(({ text, color }) => ({ label: text, color, yAxis: 1 }));
  return (
    <>
      <UPlotChart config={builder} data={data} width={width} height={height - LEGEND_HEIGHT} />
      <VizLegend items={items} displayMode="list" placement="bottom" />
    </>
  );
}
