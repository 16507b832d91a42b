// Answers that go on: server-sent events, and lines of JSON. Read by fetch(), because EventSource cannot send a key.

import { ask, Refused } from './api.js';

const kFirstPause = 500;   // ms, before the second try; then twice as long each time
const kLongestPause = 15_000;

export const sleep = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

/// The text of a response, piece by piece as it comes. Throws when nothing has come for `silence` ms.
async function* pieces(response, silence) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      let timer;
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('the server has gone silent')), silence);
      });
      const { value, done } = await Promise.race([reader.read(), late]).finally(() => clearTimeout(timer));
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function* lines(response, silence) {
  let rest = '';
  for await (const piece of pieces(response, silence)) {
    const all = (rest + piece).split('\n');
    rest = all.pop();
    for (const line of all) yield line.endsWith('\r') ? line.slice(0, -1) : line;
  }
}

/// Follows `path` until `signal`, through every cut: `event(name, data)` for each event, `state(text, pause)` whenever the
/// connection changes: 'live', 'waiting' (for `pause` ms), 'refused'. After a refusal for want of a key it ends.
export async function followEvents(path, { event, state, signal }) {
  let pause = kFirstPause;
  while (!signal.aborted) {
    let refused = false;
    try {
      const response = await ask('GET', path, { signal, accept: 'text/event-stream' });
      let name = 'message';
      let data = [];
      for await (const line of lines(response, 20_000)) {
        if (line === '') {
          if (data.length > 0) {
            pause = kFirstPause;
            state('live');
            event(name, JSON.parse(data.join('\n')));
          }
          name = 'message';
          data = [];
        } else if (line.startsWith('event:')) {
          name = line.slice(6).trim();
        } else if (line.startsWith('data:')) {
          data.push(line.slice(5).trimStart());
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      refused = error instanceof Refused && error.status === 401;
    }
    if (signal.aborted) return;
    if (refused) return state('refused');
    const now = pause * (0.5 + Math.random() / 2);  // not all pages at once
    state('waiting', now);
    await sleep(now, signal);
    pause = Math.min(2 * pause, kLongestPause);
  }
}

/// Follows newline-delimited JSON until its end or `signal`.
export async function followLines(path, { line, signal }) {
  const response = await ask('GET', path, { signal });
  for await (const text of lines(response, 60_000)) {
    if (text.trim() !== '') line(JSON.parse(text));
  }
}
