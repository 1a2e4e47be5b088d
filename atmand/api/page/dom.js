// Small tools that change the page in place. Text only ever enters it as text.

export const at = (id) => document.getElementById(id);

export function element(tag, { className, text, ...attributes } = {}, children = []) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// What did not change is not touched: nothing flickers, and a selection stays.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, className) {
  if (node.className !== className) node.className = className;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// Make the children of `container` those of `items`, by key: old nodes are kept and updated, in the items' order.
export function keyed(container, items, keyOf, create, update) {
  const known = container.nodesByKey ?? (container.nodesByKey = new Map());
  const left = new Map(known);
  let place = container.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = known.get(key);
    if (node === undefined) {
      node = create(item);
      known.set(key, node);
    }
    left.delete(key);
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else container.insertBefore(node, place);
  }
  for (const [key, node] of left) {
    node.remove();
    known.delete(key);
  }
}

// A list of terms: rows are [term, text, class of the text].
export function facts(list, rows) {
  keyed(
    list, rows.map((row, place) => [`${place} ${row[0]}`, ...row]), ([key]) => key,
    ([, term]) => element("div", {}, [element("dt", { text: term }), element("dd")]),
    (node, [, , text, className = ""]) => {
      setText(node.lastElementChild, text);
      setClass(node.lastElementChild, className);
    },
  );
}

// A table: columns are { title, className, fill(cell, row) }. On a phone each row becomes a card with the titles.
export function table(node, columns, rows, keyOf, { rowClass = () => "" } = {}) {
  if (!node.tHead) {
    const head = columns.map(({ title, className = "" }) => element("th", { text: title, className, scope: "col" }));
    node.append(element("thead", {}, [element("tr", {}, head)]), element("tbody"));
  }
  show(node, rows.length > 0);
  keyed(
    node.tBodies[0], rows, keyOf,
    () => element("tr", {}, columns.map(({ title, className = "" }) => element("td", { className, "data-label": title }))),
    (line, row) => {
      setClass(line, rowClass(row));
      columns.forEach(({ fill }, index) => fill(line.cells[index], row));
    },
  );
}

export const textCell = (read, classOf) => (cell, row) => {
  let inner = cell.firstElementChild;
  if (inner === null) {
    inner = element("span");
    cell.append(inner);
  }
  setText(inner, read(row));
  if (classOf) setClass(inner, classOf(row));
};
