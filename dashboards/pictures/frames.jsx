// Frames of what Prometheus answered, as Grafana's data source makes them, with the options, overrides
// and transformations of the panel.
const {
  FieldMatcherID, FieldType, fieldMatchers, formattedValueToString, getDisplayProcessor, standardTransformers,
  standardTransformersRegistry, toDataFrame, transformDataFrame,
} = require('@grafana/data');

// Some are listed under two names.
const transformers = new Map(Object.values(standardTransformers).map((transformer) => [transformer.id, transformer]));
standardTransformersRegistry.setInit(() => [...transformers.values()].map((transformer) => ({
  id: transformer.id, name: transformer.name, transformation: () => Promise.resolve(transformer), editor: null, imageDark: '', imageLight: '',
})));

const legend = (format, labels) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '').trim();

/** Values at every step, null where there is none: a line has a gap there. */
function onEveryStep(values, { from, to, step }) {
  const known = new Map(values.map(([time, value]) => [time, Number(value)]));
  const times = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
  return { times: times.map((time) => time * 1000), numbers: times.map((time) => known.get(time) ?? null) };
}

/** One frame a series, or one of the last values where the panel asks for now. */
function seriesOf({ refId, legendFormat, result }, span) {
  return result.map(({ metric, values, value }) => {
    const { times, numbers } = values ? onEveryStep(values, span) : { times: [value[0] * 1000], numbers: [Number(value[1])] };
    const name = legend(legendFormat, metric);
    return toDataFrame({
      refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: times, config: {} },
        { name: 'Value', type: FieldType.number, values: numbers, labels: metric, config: { displayNameFromDS: name } },
      ],
    });
  });
}

/** Time, labels and value. The value is named after the target where there are several. */
function rowsOf({ refId, result }, isAlone) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return toDataFrame({
    refId,
    fields: result.length === 0 ? [] : [
      { name: 'Time', type: FieldType.time, values: result.map(({ value: [time] }) => time * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: result.map(({ metric }) => metric[label] ?? '') })),
      { name: isAlone ? 'Value' : `Value #${refId}`, type: FieldType.number, values: result.map(({ value: [, number] }) => Number(number)) },
    ],
  });
}

/** Sets `custom.width` and the like. */
function set(config, id, value) {
  const path = id.split('.');
  const last = path.pop();
  const place = path.reduce((inner, name) => (inner[name] = { ...inner[name] }), config);
  place[last] = value;
}

const nameOf = (field) => field.config.displayName ?? field.config.displayNameFromDS ?? field.name;

/** Options of the panel and its overrides, in order. */
function dress(frames, panel, theme) {
  const { defaults, overrides } = panel.fieldConfig;
  let index = 0;
  for (const frame of frames) {
    for (const field of frame.fields) {
      const isValue = field.type === FieldType.number;
      field.config = { ...structuredClone(defaults), ...field.config, custom: { ...defaults.custom, ...field.config.custom } };
      field.state = { ...field.state, displayName: nameOf(field), seriesIndex: isValue ? index++ : undefined };
    }
  }
  for (const { matcher, properties } of overrides) {
    const isMatched = fieldMatchers.get(matcher.id).get(matcher.options);
    for (const frame of frames) {
      for (const field of frame.fields.filter((field) => isMatched(field, frame, frames))) {
        properties.forEach(({ id, value }) => set(field.config, id, value));
      }
    }
  }
  for (const frame of frames) {
    for (const field of frame.fields) {
      field.state.displayName = nameOf(field);
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    }
  }
  return frames;
}

/** Calls back with what the panel has to draw. */
export function framesOf(panel, span, theme, ready) {
  const targets = panel.targets.filter(({ result }) => result);
  const frames = targets.flatMap((target) =>
    target.format === 'table' ? [rowsOf(target, panel.targets.length === 1)] : seriesOf(target, span)
  );
  return transformDataFrame(panel.transformations ?? [], frames).subscribe((transformed) => ready(dress(transformed, panel, theme)));
}

/** What a cell or a cell's colour says. */
export const textOf = (field, value) => formattedValueToString(field.display(value));
export { FieldMatcherID, nameOf };
