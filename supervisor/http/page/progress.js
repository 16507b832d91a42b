// What a handler says of its progress may be any JSON. Where it can be read as a part of a whole there is a bar; what was said
// is shown as it is in any case.

import { element, setText } from './dom.js';

const wholes = ['total', 'of', 'steps', 'count'];
const parts = ['done', 'step', 'current', 'completed', 'n'];
const shares = ['percent', 'percentage', 'progress', 'fraction', 'ratio'];

const number = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : null);

/// 0 to 1, or null.
export function fractionOf(progress) {
  if (typeof progress === 'string') {
    const percent = /(\d+(?:\.\d+)?)\s*%/.exec(progress);
    if (percent) return Math.min(1, Number(percent[1]) / 100);
    const ratio = /(\d+)\s*(?:\/|of)\s*(\d+)/.exec(progress);
    return ratio && Number(ratio[2]) > 0 ? Math.min(1, Number(ratio[1]) / Number(ratio[2])) : null;
  }
  if (number(progress) !== null) return share(progress, 'progress');
  if (typeof progress !== 'object' || progress === null) return null;
  for (const name of shares) {
    if (number(progress[name]) !== null) return share(progress[name], name);
  }
  const whole = wholes.map((name) => number(progress[name])).find((value) => value !== null && value > 0);
  const part = parts.map((name) => number(progress[name])).find((value) => value !== null);
  return whole === undefined || part === undefined || part < 0 ? null : Math.min(1, part / whole);
}

function share(value, name) {
  const of100 = name.startsWith('percent') || value > 1;
  const fraction = of100 ? value / 100 : value;
  return fraction >= 0 && fraction <= 1 ? fraction : null;
}

export function showProgress(host, progress, ended) {
  if (!host.firstChild) host.append(element('progress', { max: '1', 'aria-label': 'Progress' }), element('code'));
  const [bar, said] = host.children;
  const fraction = fractionOf(progress);
  if (fraction !== null) {
    bar.value = fraction;
  } else {
    bar.removeAttribute('value');
  }
  bar.hidden = ended && fraction === null;
  setText(said, typeof progress === 'string' ? progress : JSON.stringify(progress));
}
