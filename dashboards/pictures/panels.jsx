// Draws a dashboard with Grafana's own components, from what Prometheus answered: its panels at their
// places, one under another on a phone.
// Grafana's packages are required, not imported: bundled as modules, their tables do not find the
// default exports that they use.
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
const { createTheme, dateTime, EventBusSrv, FieldType, ThemeContext } = require('@grafana/data');
const { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries } = require('@grafana/ui');
const { TableNG } = require('@grafana/ui/unstable');

import { framesOf } from './frames.jsx';
import { Timeline } from './timeline.jsx';

const CELL = 30;
const GAP = 8;
const PADDING = 16;
/** Narrower than this, Grafana puts panels under one another. */
const PHONE = 768;

const { dashboard, mode, width: WIDTH } = window.picture;
const theme = createTheme({ colors: { mode } });
const { from, to } = dashboard.span;
const range = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: dateTime(from * 1000), to: dateTime(to * 1000) } };
const context = { eventsScope: 'pictures', eventBus: new EventBusSrv(), sync: () => 0 };

/** The names of variables in titles, as a viewer has them at first. */
const named = (text) => text.replace(/\$\{(\w+)[^}]*\}/g, (_, name) => {
  const { current } = dashboard.templating.list.find((variable) => variable.name === name) ?? {};
  return current?.text ?? name;
});

/** A line and a mark at each bind. */
function drawAnnotations(plot) {
  const { ctx, bbox } = plot;
  ctx.save();
  for (const { iconColor, result = [] } of dashboard.annotations.list) {
    ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(iconColor);
    const times = result.flatMap(({ values }) => values.map(([time]) => time * 1000));
    // One mark for points that follow one another.
    for (const time of times.filter((time) => !times.includes(time - dashboard.span.step * 1000))) {
      const x = Math.round(plot.valToPos(time, 'x', true));
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x - 5, bbox.top + bbox.height + 6);
      ctx.lineTo(x + 5, bbox.top + bbox.height + 6);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.fill();
    }
  }
  ctx.restore();
}

function Graph({ panel, frames, width, height }) {
  return (
    <TimeSeries frames={frames} width={width} height={height} timeRange={range} timeZone="utc" legend={panel.options.legend} options={panel.options}>
      {(builder) => builder.addHook('draw', drawAnnotations)}
    </TimeSeries>
  );
}

function Stat({ panel, frames, width, height }) {
  const field = frames[0]?.fields.find(({ type }) => type === FieldType.number);
  const value = field ? field.display(field.values[0]) : { text: panel.fieldConfig.defaults.noValue, color: 'transparent' };
  const { colorMode, graphMode, justifyMode } = panel.options;
  return <BigValue theme={theme} width={width} height={height} colorMode={colorMode} graphMode={graphMode} justifyMode={justifyMode} textMode="value" value={value} />;
}

function Columns({ panel, frames, width, height }) {
  const fields = frames[0].fields.filter(({ config }) => !config.custom?.hidden);
  const data = { ...frames[0], fields };
  return (
    <TableNG data={data} width={width} height={height} cellHeight={panel.options.cellHeight} sortBy={panel.options.sortBy}
      getActions={() => []} replaceVariables={(text) => text} structureRev={1} fieldConfig={panel.fieldConfig} enableVirtualization={false} />
  );
}

const BODIES = { stat: Stat, timeseries: Graph, table: Columns, 'state-timeline': Timeline, 'status-history': Timeline };

function Empty({ panel }) {
  return <div style={{ height: '100%', display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue}</div>;
}

function Panel({ panel, place: { width, height, ...place } }) {
  const [frames, setFrames] = useState();
  useEffect(() => {
    const seen = framesOf(panel, dashboard.span, theme, setFrames);
    return () => seen.unsubscribe();
  }, [panel]);
  const Body = BODIES[panel.type];
  const isEmpty = frames && panel.type !== 'stat' && !frames.some(({ fields, length }) => fields.length && length);
  return (
    <div style={{ position: 'absolute', ...place }}>
      <PanelChrome title={named(panel.title)} width={width} height={height} padding={panel.type === 'stat' ? 'none' : 'md'}>
        {(innerWidth, innerHeight) => frames && (isEmpty ? <Empty panel={panel} /> :
          <Body panel={panel} frames={frames} width={innerWidth} height={innerHeight} range={range} theme={theme} />)}
      </PanelChrome>
    </div>
  );
}

function Row({ panel, place: { width, height, ...place } }) {
  const folded = panel.collapsed ? <span style={{ color: theme.colors.text.secondary, fontWeight: 400 }}> ({panel.panels.length} {panel.panels.length === 1 ? 'panel' : 'panels'})</span> : null;
  return (
    <div style={{ position: 'absolute', ...place, width, height, display: 'flex', alignItems: 'center', gap: 8, fontSize: 16, fontWeight: 500 }}>
      <span>{panel.collapsed ? '›' : '⌄'}</span><span>{panel.title}{folded}</span>
    </div>
  );
}

/** Where everything is, and how high it is together. */
function places(panels, top) {
  const inner = WIDTH - 2 * PADDING;
  const column = (inner + GAP) / 24;
  const high = (h) => h * (CELL + GAP) - GAP;
  if (WIDTH >= PHONE) {
    const of = ({ x, y, w, h }) => ({ left: PADDING + x * column, top: top + y * (CELL + GAP), width: w * column - GAP, height: high(h) });
    return panels.map((panel) => ({ panel, place: of(panel.gridPos) }));
  }
  let next = top;
  const inOrder = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  return inOrder.map((panel) => {
    const place = { left: PADDING, top: next, width: inner, height: high(panel.gridPos.h) };
    next += place.height + GAP;
    return { panel, place };
  });
}

function Variables() {
  const shown = dashboard.templating.list.filter(({ hide }) => !hide);
  const value = ({ name, type, query, current }) => {
    if (type === 'datasource') return { prometheus: 'Prometheus', loki: 'Loki' }[query];
    return [current?.text].flat().join(', ') || (name === 'instance' ? window.picture.host : '');
  };
  const box = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, display: 'flex', height: 32, alignItems: 'center', background: theme.colors.background.primary };
  return shown.map((variable) => (
    <div key={variable.name} style={box}>
      <span style={{ padding: '0 8px', fontWeight: 500, fontSize: 12 }}>{variable.label}</span>
      <span style={{ padding: '0 10px', borderLeft: box.border, lineHeight: '30px' }}>{value(variable)} ▾</span>
    </div>
  ));
}

function Dashboard() {
  const top = WIDTH >= PHONE ? 92 : 172;
  const placed = places(dashboard.panels, top);
  const height = Math.max(...placed.map(({ place }) => place.top + place.height)) + PADDING;
  useEffect(() => document.body.setAttribute('data-height', Math.ceil(height)), [height]);
  return (
    <div style={{ position: 'relative', width: WIDTH, height, background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
      <div style={{ padding: PADDING, display: 'flex', flexWrap: 'wrap', gap: 8, alignItems: 'center' }}>
        <div style={{ flexBasis: '100%', fontSize: 18, fontWeight: 500 }}>{dashboard.title}</div>
        <Variables />
      </div>
      {placed.map(({ panel, place }) => panel.type === 'row'
        ? <Row key={panel.id} panel={panel} place={place} />
        : <Panel key={panel.id} panel={panel} place={place} />)}
    </div>
  );
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <PanelContextProvider value={context}>
      <GlobalStyles />
      <Dashboard />
    </PanelContextProvider>
  </ThemeContext.Provider>
);
