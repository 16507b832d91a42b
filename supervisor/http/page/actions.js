// The dialogs that change something: submit, scale, drain; and the one that asks for the key.

import { access, call, forgetKey, giveKey, hasKey } from './api.js';
import { callLine } from './call.js';
import { byId, setText } from './dom.js';
import { jobAddress } from './links.js';

/// A dialog with a form: `line()` gives its call as [method, path, body], or an Error that says what is wrong with the input;
/// `done(answer)` follows a call that went well.
function dialog(name, { line, done }) {
  const box = byId(name);
  const form = box.querySelector('form');
  const problem = box.querySelector('.problem');
  const shown = callLine(box.querySelector('.call'));
  const send = form.querySelector('.buttons button');

  const refresh = () => {
    const made = line();
    const wrong = made instanceof Error;
    if (!wrong) shown.set(...made);
    setText(problem, wrong ? made.message : '');
    send.disabled = wrong;
  };
  form.addEventListener('input', refresh);
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit(send);
  });
  box.querySelector('.close').addEventListener('click', () => box.close());
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const made = line();
    if (made instanceof Error) return;
    send.disabled = true;
    try {
      const answer = await call(made[0], made[1], { body: made[2] });
      box.close();
      done?.(answer);
    } catch (error) {
      setText(problem, error.message);
    } finally {
      send.disabled = false;
    }
  });
  return {
    open() {
      refresh();
      box.showModal();
    },
    refresh,
  };
}

function submission() {
  const text = byId('submit-input').value;
  try {
    JSON.parse(text);
  } catch (error) {
    return new Error(`This is no JSON: ${error.message}`);
  }
  const seconds = Number(byId('submit-timeout').value);
  const policy = seconds > 0 ? `,"policy":{"executionTimeout":${Math.round(seconds * 1000)}}` : '';
  return ['POST', 'run', `{"input":${text.trim()}${policy}}`];  // as it was typed: nothing is lost on large numbers
}

function scaling() {
  const field = byId('scale-workers');
  if (field.value === '' || !field.checkValidity()) return new Error('Workers must be a whole number from 0 to 1024.');
  return ['POST', 'bulkhead/scale', JSON.stringify({ workers: Number(field.value) })];
}

function askForKey() {
  const box = byId('access');
  const form = box.querySelector('form');
  const problem = box.querySelector('.problem');
  const field = byId('access-key');
  const button = byId('key');
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const given = field.value.trim();
    if (given === '') return;
    field.value = '';
    box.close();
    giveKey(given);
  });
  const showButton = (needed) => {
    button.hidden = !needed && !hasKey();
    setText(button, needed ? 'Enter the key' : 'Forget the key');
    button.onclick = needed ? () => box.showModal() : forgetKey;
  };
  access.addEventListener('needed', (event) => {
    setText(problem, event.detail);
    showButton(true);
    if (!box.open) box.showModal();
  });
  access.addEventListener('given', () => showButton(false));
  showButton(false);
}

/// `wanted()`: how many workers there are to be now.
export function startActions(wanted) {
  const submit = dialog('submit', { line: submission, done: (answer) => { location.hash = jobAddress(answer.id); } });
  const scale = dialog('scale', { line: scaling });
  const drain = dialog('drain', { line: () => ['POST', 'bulkhead/drain'] });

  byId('open-submit').addEventListener('click', submit.open);
  byId('open-drain').addEventListener('click', drain.open);
  byId('open-scale').addEventListener('click', () => {
    byId('scale-workers').value = wanted();
    scale.open();
  });
  const step = (by) => () => {
    const field = byId('scale-workers');
    field.value = Math.min(1024, Math.max(0, Number(field.value) + by));
    scale.refresh();
  };
  byId('scale-less').addEventListener('click', step(-1));
  byId('scale-more').addEventListener('click', step(1));
  askForKey();
}
