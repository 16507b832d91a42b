// The page: follows the endpoint's events and shows each snapshot. While nobody looks at the tab it is not connected: a
// browser has few connections for one server, and the server need not write for nobody.

import { access } from './api.js';
import { startActions } from './actions.js';
import { byId, setAttribute, setChip, setText } from './dom.js';
import { startJobSheet } from './job.js';
import { refreshJobs, reloadJobs, startJobs } from './jobs.js';
import { followEvents } from './live.js';
import { startLog } from './log.js';
import { showOverview } from './overview.js';
import { showPlots } from './plots.js';
import { showProcesses } from './processes.js';

const kHiddenFor = 10_000;     // ms, until a tab that nobody looks at is disconnected
const kRedrawPlots = 5_000;    // ms, when nothing has happened

let snapshot = null;
let history = null;
let following = null;  // AbortController
let plotted = { at: 0, restarts: -1, history: null };

function showAll() {
  showOverview(snapshot, history);
  showProcesses(snapshot);
  refreshJobs(snapshot);
  if (history === null) return;
  const restarts = snapshot.restarts.length > 0 ? snapshot.restarts.at(-1).at : 0;
  const due = snapshot.at - plotted.at >= kRedrawPlots || restarts !== plotted.restarts || history !== plotted.history;
  if (!due) return;
  plotted = { at: snapshot.at, restarts, history };
  showPlots(history, snapshot.restarts, snapshot.at);
}

function onEvent(name, data) {
  if (name === 'history') history = data;
  if (name === 'snapshot') snapshot = data;
  if (snapshot === null) return;
  showAll();
  setText(document.querySelector('title'), snapshot.queue.jobs > 0 ? `(${snapshot.queue.jobs}) Bulkhead` : 'Bulkhead');
}

const connections = {
  live: { look: 'on', text: () => 'live' },
  waiting: { look: 'off', text: (pause) => `no connection; next try in ${Math.max(1, Math.round(pause / 1000))} s` },
  refused: { look: 'off', text: () => 'a key is needed' },
};

function onConnection(state, pause) {
  const about = connections[state];
  setText(byId('live'), about.text(pause));
  setAttribute(byId('live'), 'data-look', about.look);
  document.body.classList.toggle('stale', state !== 'live');
  if (state !== 'live') setChip(byId('phase'), 'off', 'not connected');
}

function connect() {
  following?.abort();
  following = new AbortController();
  followEvents('bulkhead/events', { event: onEvent, state: onConnection, signal: following.signal });
}

function disconnectWhenHidden() {
  let timer;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => { following?.abort(); following = null; }, kHiddenFor);
    } else if (following === null) {
      connect();
    }
  });
}

startActions(() => snapshot?.workers?.wanted ?? 1);
startJobs();
startJobSheet();
startLog();
access.addEventListener('given', () => {
  connect();
  reloadJobs();
});
disconnectWhenHidden();
connect();
