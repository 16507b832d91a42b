// A job has an address within the page: #job/ID. Whatever leads to one is a plain link.

import { element } from './dom.js';

const kPrefix = '#job/';

export const jobAddress = (id) => kPrefix + encodeURIComponent(id);

export function jobLink(id) {
  return element('a', { class: 'mono job-link', href: jobAddress(id) }, id);
}

/// The job that the page's address names, or null.
export function jobInAddress() {
  if (!location.hash.startsWith(kPrefix)) return null;
  try {
    return decodeURIComponent(location.hash.slice(kPrefix.length)) || null;
  } catch {
    return null;
  }
}

export function leaveJob() {
  history.replaceState(null, '', location.pathname + location.search);
}
