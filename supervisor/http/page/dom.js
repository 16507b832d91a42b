// Elements, made and kept up to date. What comes from outside becomes text here and nothing else: no HTML is ever parsed.

/// element('td', { class: 'number', title: '…' }, 'text', otherElement)
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/// Touches the document only where something has changed: a page that stands still costs nothing, and a selection stays.
export function setText(node, text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === undefined || value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/// Makes `parent` hold one element per item, in their order: those there are already are kept, by their key.
/// `make(item)` gives a new element, `update(element, item)` fills it in.
export function keyed(parent, items, keyOf, make, update) {
  const had = new Map();
  for (const child of [...parent.children]) had.set(child.dataset.key, child);
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = had.get(key);
    had.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === at) {
      at = at.nextElementSibling;
    } else {
      parent.insertBefore(child, at);
    }
  }
  for (const gone of had.values()) gone.remove();
}

/// A small coloured mark that says in words what its colour says.
export function setChip(node, look, text) {
  setAttribute(node, 'data-look', look);
  setText(node, text);
}
