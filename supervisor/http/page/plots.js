// The last hour as three plots. dygraphs draws them; its legend is replaced by a line of our own, which stays readable on a
// phone and says what is under the pointer. Restarts are marks at the top of each plot.

import { byId, element, setText } from './dom.js';
import { count, duration, minute, second } from './format.js';

const kHour = 3_600_000;
const kShortest = 300_000;
const kMarksWithLines = 40;  // with more of them the lines would hide the plot
const { Dygraph } = window;
// Its legend sets styles by attribute, which the content security policy forbids.
Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const perMinute = (value) => (value >= 1000 ? `${+(value / 1000).toFixed(1)}k` : String(+value.toFixed(value < 10 ? 1 : 0)));

const descriptions = {
  throughput: {
    title: 'Throughput',
    unit: 'jobs a minute',
    series: [['completed', '--good'], ['failed', '--bad'], ['timed out', '--warn'], ['cancelled', '--off']],
    row: (interval, scale) => [interval.completed, interval.failed, interval.timed_out, interval.cancelled].map((n) => n * scale),
    none: [0, 0, 0, 0],
    format: perMinute,
    options: { stackedGraph: true, stepPlot: true, fillAlpha: 0.35 },
  },
  wait: {
    title: 'Wait',
    unit: 'from submission to start',
    series: [['p95', '--accent'], ['p50', '--accent-soft']],
    row: (interval) => [interval.wait_p95_ms, interval.wait_p50_ms],
    none: [null, null],
    format: duration,
    options: {},
  },
  run: {
    title: 'Run',
    unit: 'of the last attempt',
    series: [['p95', '--accent'], ['p50', '--accent-soft']],
    row: (interval) => [interval.run_p95_ms, interval.run_p50_ms],
    none: [null, null],
    format: duration,
    options: {},
  },
};

class Plot {
  #host;
  #about;
  #readout = element('span', { class: 'readout' });
  #canvas = element('div', { class: 'plot', role: 'img' });
  #graph = null;
  #marks = [];
  #summary = '';

  constructor(host, about) {
    this.#host = host;
    this.#about = about;
    const keys = about.series.map(([name, shade]) => {
      const swatch = element('i');
      swatch.style.background = `var(${shade})`;
      return element('span', { class: 'key' }, swatch, name);
    });
    host.append(element('figcaption', {}, element('b', {}, about.title), element('span', { class: 'unit' }, about.unit),
      this.#readout), this.#canvas, element('p', { class: 'keys' }, ...keys, element('span', { class: 'key mark' }, 'restart')));
  }

  /// `rows`: [Date, value…]; `marks`: restarts; `window_`: [from, until].
  show(rows, marks, window_, summary) {
    this.#marks = marks;
    this.#summary = summary;
    setText(this.#readout, summary);
    this.#canvas.setAttribute('aria-label', `${this.#about.title}, ${this.#about.unit}, the last hour: ${summary}; ${marks.length} restarts`);
    const top = Math.max(0, ...rows.flatMap((row) => [this.#height(row.slice(1))]));
    const valueRange = [0, top > 0 ? top * 1.15 : 1];
    if (this.#graph) {
      this.#graph.updateOptions({ file: rows, dateWindow: window_, valueRange });
    } else {
      this.#graph = new Dygraph(this.#canvas, rows, { ...this.#options(), dateWindow: window_, valueRange });
    }
  }

  #height(values) {
    return this.#about.options.stackedGraph ? values.reduce((all, value) => all + (value ?? 0), 0) : Math.max(0, ...values.map((v) => v ?? 0));
  }

  /// The colours of the theme, which may change while the page is open.
  recolour() {
    this.#graph?.updateOptions(this.#shades());
  }

  resize() {
    this.#graph?.resize();
  }

  #shades() {
    return {
      colors: this.#about.series.map(([, shade]) => colour(shade)),
      gridLineColor: colour('--line'),
      axisLineColor: colour('--line'),
    };
  }

  #options() {
    const { series, format, options } = this.#about;
    return {
      labels: ['time', ...series.map(([name]) => name)],
      strokeWidth: 1.5,
      pointSize: 2,
      highlightCircleSize: 3,
      interactionModel: {},  // a finger that scrolls the page over a plot scrolls the page
      axisLabelFontSize: 11,
      axes: {
        x: { axisLabelFormatter: (value) => minute(+value), drawGrid: false, axisLabelWidth: 44, pixelsPerLabel: 70 },
        y: { axisLabelFormatter: (value) => format(value), axisLabelWidth: 52, pixelsPerLabel: 34 },
      },
      underlayCallback: (context, area, graph) => this.#drawMarks(context, area, graph),
      highlightCallback: (event, at, points) => setText(this.#readout, this.#under(at, points, event)),
      unhighlightCallback: () => setText(this.#readout, this.#summary),
      ...this.#shades(),
      ...options,
    };
  }

  #under(at, points, event) {
    const near = this.#nearest(event);
    if (near) return `${second(near.at)} ${near.child} ${near.how}`;
    const values = points.filter((point) => point.yval !== null && !Number.isNaN(point.yval))
      .map((point) => `${point.name} ${this.#about.format(point.yval)}`);
    return [minute(at), ...values].join('  ');
  }

  /// The mark within a few pixels of the pointer.
  #nearest(event) {
    const [x] = this.#graph.eventToDomCoords(event);
    let best = null;
    for (const mark of this.#marks) {
      const distance = Math.abs(this.#graph.toDomXCoord(mark.at) - x);
      if (distance < 6 && (!best || distance < best.distance)) best = { ...mark, distance };
    }
    return best;
  }

  #drawMarks(context, area, graph) {
    context.save();
    context.strokeStyle = context.fillStyle = colour('--mark');
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    const lines = this.#marks.length <= kMarksWithLines;
    let last = -Infinity;
    for (const mark of this.#marks) {
      const x = Math.round(graph.toDomXCoord(mark.at)) + 0.5;
      if (x < area.x || x > area.x + area.w || x - last < 3) continue;
      last = x;
      if (lines) {
        context.globalAlpha = 0.55;
        context.beginPath();
        context.moveTo(x, area.y + 6);
        context.lineTo(x, area.y + area.h);
        context.stroke();
        context.globalAlpha = 1;
      }
      context.beginPath();
      context.moveTo(x - 4, area.y);
      context.lineTo(x + 4, area.y);
      context.lineTo(x, area.y + 7);
      context.fill();
    }
    context.restore();
  }
}

let plots = null;

function create() {
  plots = Object.entries(descriptions).map(([name, about]) => ({ about, plot: new Plot(byId(`plot-${name}`), about) }));
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => plots.forEach(({ plot }) => plot.recolour()));
  let timer;
  new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(() => plots.forEach(({ plot }) => plot.resize()), 100);
  }).observe(byId('plot-throughput'));
}

/// The hour, or less of it where nothing has happened before.
function windowOf(history, marks, until) {
  const first = Math.min(history.intervals[0]?.at ?? until, marks[0]?.at ?? until);
  return [Math.max(until - kHour, Math.min(first, until - kShortest)), until];
}

/// Every interval of the window, those without a job too, and one before it: dygraphs complains of more outside.
function rowsOf(about, history, [from, until]) {
  const step = history.interval_ms;
  const known = new Map(history.intervals.map((interval) => [Math.floor(interval.at / step), interval]));
  const rows = [];
  for (let number = Math.ceil(from / step) - 1; number * step <= until; ++number) {
    const interval = known.get(number);
    const open = (number + 1) * step > until;  // still being filled
    const elapsed = Math.max(step / 4, Math.min(step, until - number * step));
    if (open && !interval) {  // nothing is known of it yet: what was before ends where it begins
      if (about.options.stepPlot && rows.length > 0) rows.push([new Date(number * step), ...rows.at(-1).slice(1)]);
      continue;
    }
    const values = interval ? about.row(interval, 60_000 / elapsed) : about.none;
    if (about.options.stepPlot) {
      rows.push([new Date(number * step), ...values]);
      if (open) rows.push([new Date(until), ...values]);
    } else {
      rows.push([new Date(Math.min(until, (number + 0.5) * step)), ...values]);
    }
  }
  return rows;
}

function summaries(hour) {
  const jobs = hour.completed + hour.failed + hour.cancelled + hour.timed_out;
  return [
    `${count(jobs)} in the hour`,
    jobs ? `p50 ${duration(hour.wait_p50_ms)}  p95 ${duration(hour.wait_p95_ms)}` : 'no job in the hour',
    jobs ? `p50 ${duration(hour.run_p50_ms)}  p95 ${duration(hour.run_p95_ms)}` : 'no job in the hour',
  ];
}

/// `until`: the server's time now, in ms.
export function showPlots(history, restarts, until) {
  if (plots === null) create();
  const marks = restarts.filter((restart) => restart.at > until - kHour);
  const texts = summaries(history.hour);
  const window_ = windowOf(history, marks, until);
  plots.forEach(({ about, plot }, at) => plot.show(rowsOf(about, history, window_), marks, window_, texts[at]));
}
