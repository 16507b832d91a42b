// Log lines as they come: of one job in its sheet, of everything at the foot of the page while that is open.

import { access, query } from './api.js';
import { byId, element } from './dom.js';
import { fullTime, plural, time } from './format.js';
import { jobLink } from './links.js';
import { followLines, sleep } from './live.js';

const kLinesShown = 500;
const kAgainAfter = 3_000;  // ms, when it was cut off

export const atItsEnd = (list) => list.scrollTop + list.clientHeight >= list.scrollHeight - 24;

function lineOf(line, whose) {
  if (line.lost !== undefined)
    return element('li', { class: 'lost' }, `${plural(line.lost, 'line')} left out: they came faster than they could be read`);
  const text = element('span', {}, line.text);
  if (whose && line.worker) text.prepend(element('span', { class: 'whose' }, line.worker), ' ');
  if (whose && line.job) text.append(' ', jobLink(line.job));
  return element('li', { 'data-level': line.level }, element('time', { datetime: fullTime(line.at) }, time(line.at)),
    element('span', { class: 'level' }, line.level || line.stream || ''), text);
}

/// Appends a line, and shows it if the reader is at the end.
export function addLine(list, line, whose = false) {
  const follows = atItsEnd(list);
  list.append(lineOf(line, whose));
  while (list.childElementCount > kLinesShown) list.firstElementChild.remove();
  if (follows) list.scrollTop = list.scrollHeight;
}

export const logPath = (parameters) => `bulkhead/logs?${query({ ...parameters, limit: kLinesShown, follow: 1 })}`;

export function startLog() {
  const box = byId('log');
  const list = byId('log-lines');
  let following = null;
  let last;  // the number of the newest line shown

  async function follow() {
    following?.abort();
    const { signal } = following = new AbortController();
    while (!signal.aborted) {
      await followLines(logPath({ after: last }), {
        signal,
        line: (line) => {
          last = line.seq ?? last;
          addLine(list, line, true);
        },
      }).catch(() => {});
      await sleep(kAgainAfter, signal);
    }
  }
  const change = () => (box.open && !document.hidden ? follow() : following?.abort());
  box.addEventListener('toggle', change);
  document.addEventListener('visibilitychange', change);
  access.addEventListener('given', change);
}
