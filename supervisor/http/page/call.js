// A call, shown as the `curl` line that does the same.

import { curl } from './api.js';
import { element, setText } from './dom.js';

/// Shows `curl …` with a button that copies it. `set(method, path, body)` changes it.
export function callLine(host) {
  const line = element('code', { tabindex: '0' });
  const copy = element('button', { type: 'button', class: 'small' }, 'Copy');
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(line.textContent);
      setText(copy, 'Copied');
    } catch {
      getSelection().selectAllChildren(line);  // no clipboard without TLS: it is selected for Ctrl+C
      setText(copy, 'Selected');
    }
    setTimeout(() => setText(copy, 'Copy'), 2000);
  });
  host.classList.add('call');
  host.replaceChildren(line, copy);
  return { set: (method, path, body) => setText(line, curl(method, path, body)) };
}
