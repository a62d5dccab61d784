// Makes elements. Text is always set as text, never as markup: names of programs may be hostile.

const SVG = "http://www.w3.org/2000/svg";

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter(child => child !== undefined && child !== null && child !== false));
  return node;
}

export const el = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

/// A command, which breaks between its words and not behind a hyphen.
export const command = (text, attributes) => el("code", attributes, text.split(" ").flatMap((word, i) => [i > 0 && " ", el("span", { class: "word" }, word)]));

export const byId = id => document.getElementById(id);

/// Replaces the children of a node if `facts` differ from those it was last filled with. The focus stays
/// on the element with the same `data-focus`, and a `details` that the user opened or closed stays so.
export function fill(node, facts, children) {
  const signature = JSON.stringify(facts);
  if (node.signature === signature) return false;
  node.signature = signature;
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const all = () => [...node.querySelectorAll("details[data-key]")];
  const chosen = new Map(all().filter(one => one.open !== one.isOpenAtFirst).map(one => [one.dataset.key, one.open]));
  node.replaceChildren(...[children()].flat(Infinity).filter(child => child || child === 0));
  for (const one of all()) {
    one.isOpenAtFirst = one.open;
    one.open = chosen.get(one.dataset.key) ?? one.open;
  }
  if (focused) node.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  return true;
}

/// Makes the children of `parent` those that `make` has for each key, in this order, and keeps nodes.
export function arrange(parent, keys, make) {
  const known = new Map([...parent.children].map(node => [node.dataset.key, node]));
  keys.forEach((key, index) => {
    let node = known.get(String(key));
    if (!node) {
      node = make(key);
      node.dataset.key = key;
    }
    known.delete(String(key));
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] || null);
  });
  known.forEach(node => node.remove());
  return [...parent.children];
}
