// The children, and which of them ended before their time.

import { byId, element, keyed, setAttribute, setChip, setText } from './dom.js';
import { bytes, childState, count, duration, fullTime, plural, time } from './format.js';
import { showJobsOf } from './jobs.js';
import { jobLink } from './links.js';

/// A process by its name: pressed, it shows the jobs that it has had.
function processButton() {
  const button = element('button', { type: 'button', class: 'link mono', title: 'Its jobs' });
  button.addEventListener('click', () => showJobsOf(button.textContent));
  return button;
}

function makeChild() {
  const cell = (name, label) => element('td', { class: name, 'data-label': label });
  return element('tr', {},
    element('th', { scope: 'row' }, processButton()),
    element('td', { class: 'state' }, element('span', { class: 'chip' })),
    cell('job', 'Job'), cell('number', 'Age'), cell('number memory', 'Memory'), cell('number gpu', 'GPU'),
    cell('number', 'Done'), cell('number', 'Pid'));
}

function fillChild(row, child) {
  const [name, state, job, age, memory, gpu, done, pid] = row.children;
  const look = childState(child);
  setText(name.firstElementChild, child.id);
  setChip(state.firstElementChild, look.look, look.text);
  setAttribute(state, 'title', `${child.state} for ${duration(child.in_state_ms)}`);
  keyed(job, child.jobs.slice(0, 4), (one) => one.id, (one) => jobLink(one.id), (link, one) => {
    setAttribute(link, 'title', `${one.id}, attempt ${one.attempt}, ${one.entered ? 'running' : 'handed over, not begun'}`);
    link.classList.toggle('waits', !one.entered);
  });
  setAttribute(job, 'data-more', child.jobs.length > 4 ? `+${child.jobs.length - 4}` : null);
  const oldest = child.jobs[0];
  setText(age, oldest ? duration(oldest.age_ms) : '');
  setText(memory, child.memory_bytes ? bytes(child.memory_bytes) : '–');
  setText(gpu, child.gpu_bytes === null || child.gpu_bytes === undefined ? '–' : bytes(child.gpu_bytes));
  setText(done, count(child.jobs_done));
  setText(pid, child.pid || '–');
}

function summary(children) {
  const states = new Map();
  for (const child of children) {
    const { text } = childState(child);
    states.set(text, (states.get(text) ?? 0) + 1);
  }
  return [...states].map(([text, number]) => `${number} ${text}`).join(' · ');
}

export function showProcesses(snapshot) {
  const children = [...snapshot.children].sort((a, b) => a.slot - b.slot || a.id.localeCompare(b.id));
  keyed(byId('children'), children, (child) => child.id, makeChild, fillChild);
  keyed(byId('compartments'), children, (child) => child.id, () => element('i'), (cell, child) => {
    const { look, text } = childState(child);
    setAttribute(cell, 'data-look', look);
    setAttribute(cell, 'title', `${child.id} ${text}`);
  });
  byId('no-children').hidden = children.length > 0;
  setText(byId('processes-summary'), summary(children));
  const gpus = children.some((child) => child.gpu_bytes !== null && child.gpu_bytes !== undefined);
  byId('processes').classList.toggle('no-gpu', !gpus);
  const slots = [...new Set(children.map((child) => `w${child.slot}`))];
  keyed(byId('workers'), slots, (slot) => slot, () => element('option'), (option, slot) => setAttribute(option, 'value', slot));
  showRestarts(snapshot);
}

function showRestarts(snapshot) {
  const restarts = snapshot.restarts.slice(-60).reverse();
  keyed(byId('restart-list'), restarts, (restart) => `${restart.at} ${restart.child}`,
    () => element('li', {}, element('time'), processButton(), element('span')),
    (line, restart) => {
      const [when, child, how] = line.children;
      setText(when, time(restart.at));
      setAttribute(when, 'datetime', fullTime(restart.at));
      setText(child, restart.child);
      setText(how, restart.how || restart.cause);
      setAttribute(line, 'data-cause', restart.cause);
    });
  byId('no-restarts').hidden = restarts.length > 0;
  const all = Object.values(snapshot.restarts_by_cause ?? {}).reduce((total, times) => total + times, 0);
  setText(byId('restarts-summary'), all > 0 ? `${plural(all, 'restart')} since the start` : '');
}
