// Draws a table: Prometheus' answers as Grafana's data source would make frames of them, Grafana's own
// transformations, and its table.
import { useEffect, useState } from 'react';
const { FieldType, getDisplayProcessor, standardTransformers, standardTransformersRegistry, toDataFrame, transformDataFrame } = require('@grafana/data');
const { Table } = require('@grafana/ui');

// Some are listed under two names.
const transformers = new Map(Object.values(standardTransformers).map((transformer) => [transformer.id, transformer]));
standardTransformersRegistry.setInit(() => [...transformers.values()].map((transformer) => ({
  id: transformer.id, name: transformer.name, transformation: () => Promise.resolve(transformer), editor: null, imageDark: '', imageLight: '',
})));

/** One frame a target: time, labels and value. The value is named after the target where there are several. */
function frameOf({ refId, result }, isAlone) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return toDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map(({ value: [time] }) => time * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: result.map(({ metric }) => metric[label] ?? '') })),
      { name: isAlone ? 'Value' : `Value #${refId}`, type: FieldType.number, values: result.map(({ value: [, number] }) => Number(number)) },
    ],
  });
}

/** Units that the panel sets for columns by their names. */
function withUnits(frame, panel, theme) {
  const { defaults, overrides } = panel.fieldConfig;
  for (const field of frame.fields) {
    const name = field.config.displayName ?? field.name;
    const unit = overrides.filter(({ matcher }) => matcher.options === name)
      .flatMap(({ properties }) => properties).find(({ id }) => id === 'unit')?.value;
    field.config = { ...defaults, ...field.config, unit: unit ?? defaults.unit, custom: { minWidth: 60 } };
    field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
  }
  return frame;
}

export function Columns({ panel, width, height, theme }) {
  const [frame, setFrame] = useState();
  useEffect(() => {
    const frames = panel.targets.map((target) => frameOf(target, panel.targets.length === 1));
    const seen = transformDataFrame(panel.transformations, frames)
      .subscribe(([transformed]) => setFrame(withUnits(transformed, panel, theme)));
    return () => seen.unsubscribe();
  }, [panel, theme]);
  return frame ? <Table data={frame} width={width} height={height} /> : null;
}
