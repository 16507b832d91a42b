// The top of the page: is it well, how much is there to do, how fast does it go.

import { byId, element, keyed, setChip, setText } from './dom.js';
import { bytes, count, duration, percent, plural } from './format.js';

const phases = {
  serving: { look: 'good', text: 'serving' },
  draining: { look: 'warn', text: 'draining' },
};

const kRateOver = 10_000;  // ms, of the rate shown
let ended = [];            // {at, jobs} of the last seconds

const sum = (values) => values.reduce((all, value) => all + value, 0);
const endedJobs = (totals) => sum(Object.values(totals.ended));

/// Jobs that ended per second lately; null until there is something to compare.
function rateNow(snapshot) {
  const jobs = endedJobs(snapshot.totals);
  if (ended.length > 0 && (ended.at(-1).jobs > jobs || ended.at(-1).at > snapshot.at)) ended = [];  // started anew
  ended.push({ at: snapshot.at, jobs });
  while (ended.length > 2 && ended[0].at < snapshot.at - kRateOver) ended.shift();
  const time = snapshot.at - ended[0].at;
  return time < 500 ? null : ((jobs - ended[0].jobs) * 1000) / time;
}

const perSecond = (rate) => (rate === null ? '–' : `${rate >= 100 ? count(Math.round(rate)) : rate.toFixed(1)}/s`);

/// One figure: its name, its number, and a line that explains the number.
function figures(snapshot, history) {
  const { queue, children, totals, own } = snapshot;
  const places = sum(children.filter((child) => child.state === 'ready').map((child) => child.concurrency || 1));
  const hour = history?.hour;
  const jobsOfHour = hour ? hour.completed + hour.failed + hour.cancelled + hour.timed_out : 0;
  const failed = hour ? hour.failed + hour.timed_out : 0;
  const restarts = sum(Object.values(snapshot.restarts_by_cause ?? {}));
  const causes = Object.entries(snapshot.restarts_by_cause ?? {}).filter(([, times]) => times > 0)
    .sort((a, b) => b[1] - a[1]).slice(0, 2).map(([cause, times]) => `${times} ${cause}`).join(', ');
  const memory = sum(children.map((child) => child.memory_bytes ?? 0));
  const gpus = snapshot.gpus ?? [];
  const list = [
    ['Waiting', count(queue.jobs), queue.jobs > 0 ? `oldest for ${duration(queue.oldest_ms)}` : 'nobody waits'],
    ['Running', count(queue.running), `in ${plural(places, 'place')}`],
    ['Throughput', perSecond(rateNow(snapshot)), hour ? `${count(jobsOfHour)} in the hour` : ''],
    ['Failed', hour ? count(failed) : count(totals.ended.FAILED + totals.ended.TIMED_OUT),
      hour ? `${percent(failed, jobsOfHour)} of the hour’s` : 'since the start', failed > 0],
    ['Wait, p95', duration(hour ? hour.wait_p95_ms : null), hour ? `p50 ${duration(hour.wait_p50_ms)}` : ''],
    ['Run, p95', duration(hour ? hour.run_p95_ms : null), hour ? `p50 ${duration(hour.run_p50_ms)}` : ''],
    ['Restarts', count(restarts), causes || 'none since the start', restarts > 0],
    ['Memory', bytes(memory), `supervisor ${bytes(own.memory_bytes)}`],
  ];
  if (gpus.length > 0) {
    const used = sum(gpus.map((gpu) => gpu.used_bytes));
    list.push(['GPU memory', bytes(used), `of ${bytes(sum(gpus.map((gpu) => gpu.total_bytes)))} in ${plural(gpus.length, 'device')}`]);
  }
  return list;
}

function warnings(snapshot) {
  const found = [];
  if (snapshot.ready && !snapshot.ready.ready) found.push(`Not ready: ${snapshot.ready.reason}`);
  else if (snapshot.accepts === false) found.push('No jobs are taken in.');
  if (snapshot.journal?.kept && !snapshot.journal.writable) found.push('The journal cannot be written: the disk refuses.');
  if (snapshot.workers?.backing_off > 0)
    found.push(`${plural(snapshot.workers.backing_off, 'process')} failed to set up, and will be tried again after a pause.`);
  if (snapshot.log_lines_dropped > 0) found.push(`${plural(snapshot.log_lines_dropped, 'log line')} could not be written.`);
  return found;
}

export function showOverview(snapshot, history) {
  const phase = phases[snapshot.phase] ?? { look: 'waiting', text: snapshot.phase };
  setChip(byId('phase'), snapshot.ready?.ready === false && phase.look === 'good' ? 'warn' : phase.look, phase.text);

  keyed(byId('figures'), figures(snapshot, history), ([name]) => name,
    () => element('div', {}, element('dt'), element('dd', { class: 'value' }), element('dd', { class: 'note' })),
    (tile, [name, value, note, bad]) => {
      const [term, number, line] = tile.children;
      setText(term, name);
      setText(number, value);
      setText(line, note);
      tile.classList.toggle('bad', Boolean(bad));
    });

  keyed(byId('warnings'), warnings(snapshot), (text) => text, () => element('p', { class: 'warning' }), setText);
  showMachine(snapshot);
}

/// What matters less, at the bottom.
function showMachine(snapshot) {
  const { journal, own } = snapshot;
  const rows = [
    ['Version', snapshot.version],
    ['Supervisor', `${bytes(own.memory_bytes)}, ${duration(1000 * own.cpu_seconds)} of CPU`],
    ['Loop lag', duration(snapshot.loop_lag_ms)],
    ['Journal', journal?.kept ? `${bytes(journal.bytes)}, ${count(journal.backlog)} to write` : 'none'],
    ['Connections', count(snapshot.connections)],
    ['Webhooks', `${count(snapshot.webhooks)} to deliver`],
  ];
  for (const gpu of snapshot.gpus ?? []) {
    rows.push([gpu.name ? `GPU ${gpu.index}, ${gpu.name}` : `GPU ${gpu.index}`, `${bytes(gpu.used_bytes)} of ${bytes(gpu.total_bytes)}`]);
  }
  for (const calls of snapshot.platform ?? []) {
    rows.push([`Platform: ${calls.call}`, `${count(calls.ok)} ok, ${count(calls.refused)} refused, ${count(calls.failed)} failed`]);
  }
  keyed(byId('machine'), rows, ([name]) => name, () => element('div', {}, element('dt'), element('dd')), (row, [name, value]) => {
    setText(row.firstElementChild, name);
    setText(row.lastElementChild, value);
  });
}
