// Draws the panels of a dashboard with Grafana's own components, from what Prometheus answered.
// Grafana's packages are required, not imported: bundled as modules, their tables do not find the
// default exports that they use.
import { createRoot } from 'react-dom/client';
const { createTheme, dateTime, EventBusSrv, FieldType, getDisplayProcessor, ThemeContext, toDataFrame } = require('@grafana/data');
const { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries } = require('@grafana/ui');

import { Columns } from './table.jsx';
import { Timeline } from './timeline.jsx';

const WIDTH = 1580;
const theme = createTheme({ colors: { mode: 'dark' } });
const palette = theme.visualization.palette.map((name) => theme.visualization.getColorByName(name));

const legend = (format, labels) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');

const seriesOf = (panel) => panel.targets.flatMap((target) =>
  target.result.map(({ metric, values, value }) => ({
    name: legend(target.legendFormat, metric),
    values: values ?? [value],
  }))
);

/** One frame a series, as Grafana's data source would make them. */
function framesOf(panel) {
  const defaults = panel.fieldConfig.defaults;
  const series = seriesOf(panel);
  const colorOf = (name) => {
    const override = panel.fieldConfig.overrides.find(({ matcher }) => matcher.options === name);
    const color = override?.properties.find(({ id }) => id === 'color')?.value.fixedColor;
    return color && theme.visualization.getColorByName(color);
  };
  return series.map(({ name, values }, index) => {
    const config = {
      ...defaults,
      custom: { axisPlacement: 'auto', pointSize: 5, ...defaults.custom },
      color: { mode: 'fixed', fixedColor: colorOf(name) ?? palette[index % palette.length] },
      displayName: name,
    };
    const frame = toDataFrame({
      fields: [
        { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000), config: {} },
        { name, type: FieldType.number, values: values.map(([, number]) => Number(number)), config },
      ],
    });
    for (const field of frame.fields) {
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
      field.state = { displayName: field.name, seriesIndex: index };
    }
    return frame;
  });
}

function Graph({ panel, width, height, range }) {
  const showLegend = { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] };
  return (
    <TimeSeries frames={framesOf(panel)} width={width} height={height} timeRange={range} timeZone="utc"
      legend={showLegend} options={{}} />
  );
}

function Stat({ panel, width, height }) {
  const field = framesOf(panel)[0]?.fields[1];
  const last = field?.values[field.values.length - 1];
  const mapping = panel.fieldConfig.defaults.mappings?.[0].options[last];
  const value = field ? field.display(last) : { text: 'No data' };
  const shown = mapping ? { ...value, text: mapping.text } : value;
  return <BigValue theme={theme} width={width} height={height} colorMode="value" graphMode="none" value={{ ...shown, color: theme.colors.success.text }} />;
}

function States({ panel, ...place }) {
  return <Timeline panel={panel} series={seriesOf(panel)} theme={theme} {...place} />;
}

const KINDS = {
  stat: { Body: Stat, width: 250, height: 110 },
  'state-timeline': { Body: States, width: 510, height: 250 },
  timeseries: { Body: Graph, width: 510, height: 250 },
  table: { Body: (place) => <Columns theme={theme} {...place} />, width: 510, height: 250 },
};
const context = { eventsScope: 'pictures', eventBus: new EventBusSrv(), sync: () => 0 };

function Dashboard({ dashboard }) {
  const times = dashboard.panels.flatMap((panel) => (panel.targets ?? []).flatMap((target) =>
    target.result.flatMap(({ values }) => (values ?? []).map(([time]) => time * 1000))));
  const from = dateTime(Math.min(...times)), to = dateTime(Math.max(...times));
  const range = { from, to, raw: { from, to } };
  const drawn = dashboard.panels.filter((panel) => KINDS[panel.type] && panel.targets.some((target) => target.result.length));
  return (
    <div style={{ width: WIDTH, padding: 10, background: theme.colors.background.canvas }}>
      <h2 style={{ margin: '4px 6px 10px' }}>{dashboard.title}</h2>
      {Object.entries(KINDS).map(([kind, { Body, width, height }]) => (
        <div key={kind} style={{ display: 'flex', flexWrap: 'wrap', gap: 8, marginBottom: 8 }}>
          {drawn.filter(({ type }) => type === kind).map((panel) => (
            <PanelChrome key={panel.id} title={panel.title} width={width} height={height}>
              {(innerWidth, innerHeight) => <Body panel={panel} width={innerWidth} height={innerHeight} range={range} />}
            </PanelChrome>
          ))}
        </div>
      ))}
    </div>
  );
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <PanelContextProvider value={context}>
      <GlobalStyles />
      <Dashboard dashboard={window.dashboard} />
    </PanelContextProvider>
  </ThemeContext.Provider>
);
