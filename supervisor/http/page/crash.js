// A crash record, for people: what happened, in which stack, and what the process had last said.

import { element } from './dom.js';
import { bytes, duration, time } from './format.js';

const facts = [
  ['Signal', (record) => record.signal],
  ['Exit status', (record) => record.exit_code],
  ['Out of memory', (record) => (record.oom_killed ? 'yes' : undefined)],
  ['Process', (record) => record.worker_id],
  ['Ran for', (record) => record.run_time_ms === undefined ? undefined : duration(record.run_time_ms)],
  ['Peak memory', (record) => record.peak_rss_bytes === undefined ? undefined : bytes(record.peak_rss_bytes)],
  ['Attempt', (record) => record.attempt],
  ['Machine', (record) => record.hostname],
];

/// Frames as a list: what is called, and small beside it where that is.
function stack(title, frames) {
  const items = frames.map((frame) => {
    const split = /^(.*\S)\s+(\([^()]*\+0x[0-9a-f]+\))$/.exec(frame);
    return split ? element('li', {}, split[1], ' ', element('small', {}, split[2])) : element('li', {}, frame);
  });
  return [element('h4', {}, title), element('ol', { class: 'stack mono', tabindex: '0', 'aria-label': title }, ...items)];
}

export function showCrash(host, record) {
  const key = JSON.stringify(record);
  if (host.dataset.shown === key) return;
  host.dataset.shown = key;
  const rows = facts.map(([name, get]) => [name, get(record)]).filter(([, value]) => value !== undefined && value !== null && value !== '')
    .map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, String(value))));
  const parts = [element('dl', { class: 'facts' }, ...rows)];  // the message is at the top of the sheet
  if (record.stack?.length > 0) parts.push(...stack('Stack', record.stack));
  if (record.interpreter_stack?.length > 0) {
    parts.push(element('h4', {}, 'Interpreter’s stack'), element('pre', { tabindex: '0' }, record.interpreter_stack.join('\n')));
  }
  if (record.log_tail?.length > 0) {
    const lines = record.log_tail.map((line) => (typeof line === 'string' ? line : line.text ?? JSON.stringify(line)));
    parts.push(element('h4', {}, 'Last lines'), element('pre', { tabindex: '0' }, lines.join('\n')));
  }
  host.replaceChildren(...parts);
}
