// The list of jobs: filtered by the server, a page at a time, fresh while its first page is shown.
//
// With many jobs in memory the server looks at a bounded number of them per request, and may answer with a cursor and fewer
// jobs than were asked for: a page here is filled by as many requests as it takes, up to a bound.

import { call, query, Refused } from './api.js';
import { byId, element, keyed, setAttribute, setChip, setText } from './dom.js';
import { count, duration, fullTime, jobState, plural, time } from './format.js';
import { jobLink } from './links.js';

const kPage = 50;
const kMostRequests = 200;     // for one page
const kRefreshAfter = 800;     // ms, between two looks at the first page at least

let cursors = [null];  // where each page shown so far begins; the last is the one at hand
let next = null;       // where the following page begins
let loading = null;    // AbortController of the load under way
let seen = '';         // the totals that the list was loaded under
let loadedAt = 0;
let typing;

function filters() {
  const form = new FormData(byId('filters'));
  return {
    state: form.getAll('state').join(','),
    error_type: form.get('error_type'),
    worker: form.get('worker').trim(),
    id: form.get('id').trim(),
  };
}

async function fill(before, signal) {
  const jobs = [];
  let total = null;
  for (let request = 0; request < kMostRequests && jobs.length < kPage; ++request) {
    const page = await call('GET', `bulkhead/jobs?${query({ ...filters(), limit: kPage - jobs.length, before })}`, { signal });
    jobs.push(...page.jobs);
    before = page.before;
    if (request === 0) total = page.total;
    if (before === null || before === undefined) return { jobs, before: null, total, whole: true };
    if (request > 0 && jobs.length < kPage) setText(byId('jobs-summary'), 'still looking…');
  }
  return { jobs, before, total, whole: jobs.length >= kPage };
}

function makeRow() {
  const cell = (label, name) => element('td', { class: name, 'data-label': label });
  return element('tr', {}, element('th', { scope: 'row' }), element('td', { class: 'state' }, element('span', { class: 'chip' })),
    cell('Submitted', 'when'), cell('Waited', 'number'), cell('Ran', 'number'), cell('Worker', 'mono'),
    cell('Attempts', 'number'), cell('Error', 'error'));
}

function fillRow(row, job) {
  const [name, state, submitted, waited, ran, worker, attempts, error] = row.children;
  if (!name.firstChild) name.append(jobLink(job.id));
  const look = jobState(job.status);
  setChip(state.firstElementChild, look.look, look.text);
  setText(submitted, time(job.submitted_at));
  setAttribute(submitted, 'title', fullTime(job.submitted_at));
  setText(waited, duration(job.wait_ms));
  setText(ran, job.started_at ? duration(job.run_ms) : '');
  setText(worker, job.worker_id ?? '');
  setText(attempts, job.attempts || '');
  setText(error, job.error_type || '');
}

function summary(page) {
  const first = (cursors.length - 1) * kPage;
  if (page.jobs.length === 0) return '';
  const range = `${count(first + 1)}–${count(first + page.jobs.length)}`;
  if (page.total !== null && page.total !== undefined) return `${range} of ${count(page.total)}`;
  return page.before === null ? `${range}, all of them` : `${range}, newest first`;
}

async function load() {
  loading?.abort();
  const mine = loading = new AbortController();
  byId('job-rows').setAttribute('aria-busy', 'true');
  try {
    const page = await fill(cursors.at(-1), mine.signal);
    next = page.before;
    keyed(byId('job-rows'), page.jobs, (job) => job.id, makeRow, fillRow);
    setText(byId('jobs-summary'), summary(page));
    byId('no-jobs').hidden = page.jobs.length > 0;
    setText(byId('no-jobs'), page.whole ? 'No job is like that.' : `None among the newest ${plural(kMostRequests, 'batch')}; “Older” looks on.`);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof Refused && error.status === 401))
      setText(byId('jobs-summary'), error instanceof Refused ? error.message : 'the server cannot be reached');
  } finally {
    if (loading === mine) {
      loading = null;
      loadedAt = performance.now();
      byId('job-rows').removeAttribute('aria-busy');
      byId('newest').disabled = byId('newer').disabled = cursors.length === 1;
      byId('older').disabled = next === null;
    }
  }
}

function fromTheFirst() {
  cursors = [null];
  return load();
}

/// Whenever there is a snapshot: another look, if something has happened since the last one.
export function refreshJobs(snapshot) {
  if (cursors.length > 1 || loading !== null || performance.now() - loadedAt < kRefreshAfter) return;
  const now = JSON.stringify([snapshot.totals, snapshot.queue.running, snapshot.queue.jobs]);
  if (now === seen && snapshot.queue.running === 0) return;
  seen = now;
  load();
}

export function reloadJobs() {
  seen = '';
  return load();
}

/// Those of one process, and nothing else.
export function showJobsOf(worker) {
  const form = byId('filters');
  for (const field of form.elements) {
    if (field.type === 'checkbox') field.checked = false;
    else if (field.name) field.value = field.name === 'worker' ? worker : '';
  }
  fromTheFirst();
  byId('jobs').scrollIntoView({ block: 'start' });
  byId('jobs').focus({ preventScroll: true });
}

export function startJobs() {
  const form = byId('filters');
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('change', fromTheFirst);
  form.addEventListener('reset', () => setTimeout(fromTheFirst));  // when the fields are empty
  form.addEventListener('input', (event) => {
    if (event.target.type === 'checkbox' || event.target.tagName === 'SELECT') return;
    clearTimeout(typing);
    typing = setTimeout(fromTheFirst, 250);
  });
  byId('newest').addEventListener('click', fromTheFirst);
  byId('newer').addEventListener('click', () => {
    if (cursors.length > 1) cursors.pop();
    load();
  });
  byId('older').addEventListener('click', () => {
    if (next === null) return;
    cursors.push(next);
    load();
    byId('jobs').scrollIntoView({ block: 'start' });
  });
}
