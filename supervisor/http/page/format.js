// Numbers, times and states, as people read them.

const grouped = new Intl.NumberFormat('en');
export const count = (value) => grouped.format(value);

/// 840 ms · 3.2 s · 42 s · 4 min 12 s · 3 h 05 min · 2 d 4 h
export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  const two = (value) => String(value).padStart(2, '0');
  if (ms < 1000) return `${ms < 10 && ms % 1 !== 0 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${two(Math.floor(seconds % 60))} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function bytes(value) {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    ++unit;
  }
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function percent(part, whole) {
  if (!whole) return '0 %';
  const value = (100 * part) / whole;
  return `${value > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

const hourAndSecond = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const hourAndMinute = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/// The time of day; of another day than today, its date too.
export function time(ms) {
  if (!ms) return '–';
  const date = new Date(ms);
  const today = new Date().toDateString() === date.toDateString();
  return today ? hourAndSecond.format(date) : `${day.format(date)} ${hourAndMinute.format(date)}`;
}

export const minute = (ms) => hourAndMinute.format(new Date(ms));
export const second = (ms) => hourAndSecond.format(new Date(ms));
export const fullTime = (ms) => (ms ? new Date(ms).toISOString() : '');

/// 1 job, 2 jobs
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? '' : /(s|ch)$/.test(word) ? 'es' : 's'}`;

/// A job's state: how it looks and what it is called.
export const jobStates = {
  IN_QUEUE: { look: 'waiting', text: 'In queue' },
  IN_PROGRESS: { look: 'busy', text: 'In progress' },
  COMPLETED: { look: 'good', text: 'Completed' },
  FAILED: { look: 'bad', text: 'Failed' },
  CANCELLED: { look: 'off', text: 'Cancelled' },
  TIMED_OUT: { look: 'warn', text: 'Timed out' },
};
export const jobState = (status) => jobStates[status] ?? { look: 'off', text: String(status ?? 'unknown') };
export const isFinal = (status) => !['IN_QUEUE', 'IN_PROGRESS'].includes(status);

/// A child's state; one that is ready and has a job is running it.
export function childState(child) {
  const running = child.jobs.some((job) => job.entered);
  switch (child.state) {
    case 'ready':
      return running ? { look: 'busy', text: 'running' } : { look: 'good', text: 'ready' };
    case 'spare':
      return { look: 'spare', text: 'spare' };
    case 'launching':
    case 'setting up':
      return { look: 'waiting', text: child.state };
    case 'retiring':
    case 'ending':
      return { look: 'warn', text: child.state };
    case 'dead':
      return { look: 'bad', text: 'dead' };
    default:
      return { look: 'off', text: String(child.state) };
  }
}
