// One job's whole life, in a sheet over the page: #job/ID. Looks again every second while the job lives, reads its chunks by
// number (so that no reader of the stream loses any), and follows its log.

import { access, call, Refused } from './api.js';
import { callLine } from './call.js';
import { byId, element, keyed, setAttribute, setChip, setText } from './dom.js';
import { showCrash } from './crash.js';
import { count, duration, fullTime, isFinal, jobState, plural, time } from './format.js';
import { jobInAddress, leaveJob } from './links.js';
import { followLines, sleep } from './live.js';
import { addLine, atItsEnd, logPath } from './log.js';
import { showProgress } from './progress.js';

const kLookEvery = 1_000;   // ms, while it lives
const kChunksShown = 200;   // the newest
const kTextShown = 64 * 1024;  // of an input or an output

/// Each job that is opened has a sheet of its own, so that nothing of the one before can be in it.
class Sheet {
  #id;
  #stop = new AbortController();
  #parts = {};
  #chunks = [];
  #chunkNumber = 0;

  constructor(id, body) {
    this.#id = id;
    this.#build(body);
    this.#look();
  }

  close() {
    this.#stop.abort();
  }

  #path(name) {
    return `${name}/${encodeURIComponent(this.#id)}`;
  }

  #build(body) {
    const parts = this.#parts;
    const make = (name, tag, attributes, ...children) => (parts[name] = element(tag, attributes, ...children));
    const section = (name, title, ...children) => {
      make(name, 'section', { hidden: true }, element('h3', {}, title), ...children);
      return parts[name];
    };
    make('problem', 'p', { class: 'problem', role: 'alert' });
    make('state', 'span', { class: 'chip' });
    make('error', 'p', { class: 'failure' });
    make('facts', 'dl', { class: 'facts' });
    make('cancel', 'button', { type: 'button', class: 'danger', disabled: true }, 'Cancel');
    make('retry', 'button', { type: 'button', disabled: true }, 'Retry');
    make('said', 'span', { role: 'status', class: 'note' });
    const head = element('div', { class: 'job-head' }, parts.state, element('div', { class: 'buttons' }, parts.cancel, parts.retry), parts.said);
    body.replaceChildren(parts.problem, head, parts.error, parts.facts,
      section('life', 'Life', make('bar', 'div', { class: 'life', 'aria-hidden': 'true' }), make('attempts', 'table', { class: 'attempts' })),
      section('progress', 'Progress', make('progressBar', 'div', {})),
      section('crash', 'Crash', make('crashBody', 'div', {})),
      section('stream', 'Chunks', make('chunkCount', 'p', { class: 'note' }),
        make('chunkList', 'ol', { class: 'chunks mono', tabindex: '0', 'aria-label': 'Chunks' })),
      section('log', 'Log', make('logLines', 'ol', { class: 'log mono', tabindex: '0', 'aria-label': 'Log lines' })),
      section('output', 'Output', make('outputText', 'pre', { tabindex: '0' })),
      section('input', 'Input', make('inputText', 'pre', { tabindex: '0' })),
      element('section', {}, element('h3', {}, 'The same by hand'), ...this.#callLines()));
    parts.cancel.addEventListener('click', () => this.#act(parts.cancel, 'cancel', 'Cancelled.'));
    parts.retry.addEventListener('click', () => this.#act(parts.retry, 'retry', 'It runs again.'));
  }

  #callLines() {
    const calls = [['Look', 'GET', `bulkhead/jobs/${encodeURIComponent(this.#id)}`], ['Cancel', 'POST', this.#path('cancel')],
      ['Retry', 'POST', this.#path('retry')]];
    return calls.map(([name, method, path]) => {
      const host = element('div');
      callLine(host).set(method, path);
      return element('div', { class: 'labelled' }, element('span', {}, name), host);
    });
  }

  async #act(button, what, well) {
    button.disabled = true;
    try {
      await call('POST', this.#path(what));
      setText(this.#parts.said, well);
    } catch (error) {
      setText(this.#parts.said, error.message);
    }
    if (!this.#stop.signal.aborted) this.#restart();
  }

  /// From the beginning: a job that is retried has a life again.
  #restart() {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#chunks = [];
    this.#chunkNumber = 0;
    this.#parts.chunkList.replaceChildren();
    this.#look();
  }

  async #look() {
    const { signal } = this.#stop;
    this.#followLog(signal);
    this.#followChunks(signal);
    while (!signal.aborted) {
      try {
        const job = await call('GET', this.#path('bulkhead/jobs'), { signal });
        setText(this.#parts.problem, '');
        this.#show(job);
        if (isFinal(job.status)) return;
      } catch (error) {
        if (signal.aborted) return;
        setText(this.#parts.problem, error instanceof Refused ? error.message : 'The server cannot be reached; trying again.');
        if (error instanceof Refused && error.status !== 429 && error.status < 500) return;
      }
      await sleep(kLookEvery, signal);
    }
  }

  #show(job) {
    const parts = this.#parts;
    const look = jobState(job.status);
    setChip(parts.state, look.look, look.text);
    parts.cancel.disabled = isFinal(job.status);
    parts.retry.disabled = !['FAILED', 'TIMED_OUT'].includes(job.status);
    setText(parts.error, isFinal(job.status) && job.status !== 'COMPLETED' ? reason(job) : '');
    this.#showFacts(job);
    this.#showLife(job);
    parts.progress.hidden = job.progress === undefined || job.progress === null;
    if (!parts.progress.hidden) showProgress(parts.progressBar, job.progress, isFinal(job.status));
    parts.crash.hidden = !job.crash;
    if (job.crash) showCrash(parts.crashBody, job.crash);
    this.#showText('output', job.output);
    if (job.input === undefined && job.input_bytes !== undefined) {
      parts.input.hidden = false;
      const size = job.input_bytes;
      setText(parts.inputText, size === null ? 'no longer kept' : `${count(size)} bytes, too many to be shown here`);
    } else {
      this.#showText('input', job.input);
    }
    if (job.chunks > 0) {
      parts.stream.hidden = false;
      const shown = Math.min(kChunksShown, job.chunks);
      setText(parts.chunkCount, shown < job.chunks ? `${plural(job.chunks, 'chunk')}, the newest ${shown} of them:` : plural(job.chunks, 'chunk'));
    }
  }

  #showFacts(job) {
    const rows = [
      ['Submitted', time(job.submitted_at), fullTime(job.submitted_at)],
      ['Waited', duration(job.delayTime)],
      ['Ran', job.executionTime === undefined ? '–' : duration(job.executionTime)],
      ['Ended', time(job.ended_at), fullTime(job.ended_at)],
      ['Worker', job.workerId || '–'],
      ['Attempts', attemptsOf(job).length || '–'],
    ];
    keyed(this.#parts.facts, rows, ([name]) => name, () => element('div', {}, element('dt'), element('dd')), (row, [name, value, title]) => {
      setText(row.firstElementChild, name);
      setText(row.lastElementChild, value);
      setAttribute(row.lastElementChild, 'title', title);
    });
  }

  /// A bar of waits and attempts, each as wide as it was long, and the same as a table.
  #showLife(job) {
    const attempts = attemptsOf(job);
    this.#parts.life.hidden = attempts.length === 0;
    keyed(this.#parts.bar, spansOf(job, attempts), (span) => span.key, () => element('i'), (bar, span) => {
      setAttribute(bar, 'data-look', span.look);
      setAttribute(bar, 'title', `${span.text}, ${duration(span.ms)}`);
      bar.style.flexGrow = Math.max(1, span.ms);
    });
    const table = this.#parts.attempts;
    if (!table.firstChild) {
      const columns = ['Attempt', 'Began', 'Ran', 'Worker', 'End'].map((name) => element('th', { scope: 'col' }, name));
      table.append(element('thead', {}, element('tr', {}, ...columns)), element('tbody'));
    }
    keyed(table.lastElementChild, attempts, (attempt) => attempt.attempt,
      () => element('tr', {}, element('th', { scope: 'row' }), element('td'), element('td'), element('td', { class: 'mono' }),
        element('td', {}, element('span', { class: 'chip' }), element('span', { class: 'note' }))),
      (row, attempt) => {
        const [number, began, ran, worker, end] = row.children;
        setText(number, attempt.attempt);
        setText(began, time(attempt.started_at));
        setText(ran, duration(attempt.ms));
        setText(worker, attempt.worker_id || '–');
        const { look, text } = attemptEnd(attempt);
        setChip(end.firstElementChild, look, text);
        setText(end.lastElementChild, [attempt.error_type, attempt.from_checkpoint ? 'from a checkpoint' : ''].filter(Boolean).join(', '));
      });
  }

  #showText(name, value) {
    const parts = this.#parts;
    parts[name].hidden = value === undefined || value === null;
    if (parts[name].hidden) return;
    const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
    setText(parts[`${name}Text`], text.length > kTextShown ? `${text.slice(0, kTextShown)}…` : text);
  }

  async #followChunks(signal) {
    while (!signal.aborted) {
      try {
        const news = await call('GET', `${this.#path('stream')}?after=${this.#chunkNumber}&wait=20000`, { signal });
        if (news.after < this.#chunkNumber) this.#chunks = [];  // another attempt, from its first chunk on
        this.#chunkNumber = news.after ?? this.#chunkNumber;
        this.#addChunks(news.stream);
        if (isFinal(news.status)) return;
      } catch (error) {
        if (signal.aborted || (error instanceof Refused && error.status < 500 && error.status !== 429)) return;
        await sleep(2 * kLookEvery, signal);
      }
    }
  }

  #addChunks(stream) {
    if (stream.length === 0) return;
    this.#chunks.push(...stream.map((chunk) => JSON.stringify(chunk.output)));
    const first = this.#chunkNumber - this.#chunks.length + 1;
    this.#chunks = this.#chunks.slice(-kChunksShown);
    const from = Math.max(first, this.#chunkNumber - kChunksShown + 1);
    this.#parts.stream.hidden = false;
    const list = this.#parts.chunkList;
    const follows = atItsEnd(list);
    list.setAttribute('start', from);
    list.replaceChildren(...this.#chunks.map((text) => element('li', {}, text)));
    if (follows) list.scrollTop = list.scrollHeight;
  }

  async #followLog(signal) {
    const { log, logLines } = this.#parts;
    logLines.replaceChildren();
    try {
      await followLines(logPath({ job: this.#id }), {
        signal,
        line: (line) => {
          log.hidden = false;
          addLine(logLines, line);
        },
      });
    } catch {
      // The log is a help, not the matter itself: without it the rest is shown.
    }
  }
}

function reason(job) {
  if (job.crash?.error_message) return job.crash.error_message;
  if (typeof job.error !== 'string') return job.error_type || '';
  try {
    return JSON.parse(job.error).error_message ?? job.error;
  } catch {
    return job.error;
  }
}

/// The attempts there were; a job that lost none has no history, and one attempt all the same.
function attemptsOf(job) {
  const now = job.ended_at || Date.now();
  const history = (job.attempts ?? []).map((attempt) => ({ ...attempt, ms: Math.max(0, (attempt.ended_at || now) - attempt.started_at) }));
  const last = history.at(-1);
  const told = job.status === 'IN_PROGRESS' ? last && !last.ended_at : last;  // all of them are in the history
  if (told || !job.started_at) return history;
  const ended = isFinal(job.status);
  return [...history, {
    attempt: (last?.attempt ?? 0) + 1, started_at: job.started_at, ended_at: ended ? job.ended_at : null,
    ms: Math.max(0, job.executionTime ?? now - job.started_at), worker_id: job.workerId,
    reason: ended ? job.status.toLowerCase() : '', error_type: job.error_type ?? '',
  }];
}

function attemptEnd(attempt) {
  if (!attempt.ended_at) return { look: 'busy', text: 'running' };
  if (attempt.reason === 'completed') return { look: 'good', text: 'completed' };
  if (['cancelled', 'expired', 'shutdown'].includes(attempt.reason)) return { look: 'off', text: attempt.reason };
  if (['timeout', 'stall', 'timed_out'].includes(attempt.reason)) return { look: 'warn', text: attempt.reason.replace('_', ' ') };
  return { look: 'bad', text: attempt.reason || 'failed' };
}

function spansOf(job, attempts) {
  const spans = [];
  let at = job.submitted_at;
  for (const attempt of attempts) {
    const wait = attempt.started_at - at;
    if (wait > 0) spans.push({ key: `w${attempt.attempt}`, look: 'gap', text: 'waited', ms: wait });
    const { look, text } = attemptEnd(attempt);
    spans.push({ key: `a${attempt.attempt}`, look, text: `attempt ${attempt.attempt}, ${text}`, ms: attempt.ms });
    at = attempt.ended_at || at;
  }
  if (job.status === 'IN_QUEUE') spans.push({ key: 'now', look: 'gap', text: 'waits', ms: Math.max(0, Date.now() - at) });
  return spans;
}

let sheet = null;

function follow() {
  const box = byId('job');
  const id = jobInAddress();
  sheet?.close();
  sheet = null;
  if (id === null) {
    if (box.open) box.close();
    return;
  }
  setText(byId('job-id'), id);
  sheet = new Sheet(id, byId('job-body'));
  if (!box.open) box.showModal();
  box.scrollTop = 0;
}

export function startJobSheet() {
  const box = byId('job');
  box.querySelector('.close').addEventListener('click', () => box.close());
  box.addEventListener('click', (event) => {
    if (event.target === box) box.close();  // beside it
  });
  box.addEventListener('close', () => {
    sheet?.close();
    sheet = null;
    if (jobInAddress() !== null) leaveJob();
  });
  window.addEventListener('hashchange', follow);
  access.addEventListener('given', () => {
    if (sheet !== null) follow();
  });
  follow();
}
