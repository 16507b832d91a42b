// The endpoint's HTTP API: calls with the key that this tab was given, and the same calls as `curl` lines.

const base = new URL('.', document.baseURI);
const kStored = 'bulkhead.key';
let key = sessionStorage.getItem(kStored) ?? '';

/// Says 'needed' when the server wants a key that this tab has not got, and 'given' when there is a new one.
export const access = new EventTarget();

export const hasKey = () => key !== '';

export function giveKey(given) {
  key = given;
  sessionStorage.setItem(kStored, key);
  access.dispatchEvent(new Event('given'));
}

/// The key, and all that it has shown.
export function forgetKey() {
  sessionStorage.removeItem(kStored);
  location.reload();
}

/// What the server refused, in its own words.
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function refusal(response) {
  let code = 'http_' + response.status;
  let message = `the server answered ${response.status}`;
  try {
    const { error } = await response.json();
    if (typeof error === 'string') message = error;
    if (error?.code) code = error.code;
    if (error?.message) {
      message = error.message;
      if (error.limit !== undefined) message += ` (limit ${error.limit}${error.got === undefined ? '' : `, got ${error.got}`})`;
    }
  } catch {
    // no JSON: its status is all there is to say
  }
  return new Refused(response.status, code, message);
}

/// The response, of which the body is still to be read. Throws Refused, or TypeError when there is no answer at all.
export async function ask(method, path, { body, signal, accept } = {}) {
  const headers = {};
  if (key !== '') headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (accept !== undefined) headers.Accept = accept;
  const response = await fetch(new URL(path, base), {
    method, headers, body, signal, cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
  });
  if (response.ok) return response;
  const problem = await refusal(response);
  if (response.status === 401) access.dispatchEvent(new CustomEvent('needed', { detail: hasKey() ? problem.message : '' }));
  throw problem;
}

export async function call(method, path, options) {
  return (await ask(method, path, options)).json();
}

const shellWord = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/// The same call for a terminal. The key stays out of it.
export function curl(method, path, body) {
  const words = ['curl'];
  if (method !== 'GET' && body === undefined) words.push('-X', method);
  words.push(shellWord(new URL(path, base).href));
  if (key !== '') words.push('-H', '"Authorization: Bearer $BULKHEAD_API_KEY"');
  if (body !== undefined) words.push('-H', "'Content-Type: application/json'", '-d', shellWord(body));
  return words.join(' ');
}

/// "a=1&b=2", those without a value left out.
export function query(parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return set.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll('%2C', ',')}`).join('&');
}
