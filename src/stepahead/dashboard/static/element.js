// Making and changing elements. Text is always set as text: a device may put anything into a topic.

const SVG = new Set(["svg", "polyline", "rect", "line", "circle"]);

export function element(tag, attributes = {}, ...children) {
  const made = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, name) {
  if (node.getAttribute("class") !== name) node.setAttribute("class", name);
}

// A list of terms and figures that keeps its elements: [name, text, class] each.
export function setFigures(list, figures) {
  while (list.children.length > figures.length) list.lastChild.remove();
  while (list.children.length < figures.length) {
    list.append(element("div", {}, element("dt"), element("dd")));
  }
  figures.forEach(([name, text, kind], i) => {
    const [term, figure] = list.children[i].children;
    setText(term, name);
    setText(figure, text);
    setClass(figure, kind || "");
  });
}

export function setFacts(list, facts) {
  while (list.children.length > 2 * facts.length) list.lastChild.remove();
  while (list.children.length < 2 * facts.length) list.append(element("dt"), element("dd"));
  facts.forEach(([name, text, kind], i) => {
    setText(list.children[2 * i], name);
    setText(list.children[2 * i + 1], text);
    setClass(list.children[2 * i + 1], kind || "");
  });
}

// A plain table: heads are [text, class], rows are lists of texts or [text, class].
export function table(heads, caption) {
  const cells = heads.map(([text, kind]) => element("th", { scope: "col", class: kind || "" }, text));
  const body = element("tbody");
  const made = element("table", { "aria-label": caption }, element("thead", {}, element("tr", {}, ...cells)), body);
  const set = (rows) => {
    while (body.rows.length > rows.length) body.lastChild.remove();
    while (body.rows.length < rows.length) {
      body.append(element("tr", {}, ...heads.map(([, kind]) => element("td", { class: kind || "" }))));
    }
    rows.forEach((row, i) => {
      row.forEach((cell, j) => {
        const [text, kind] = Array.isArray(cell) ? cell : [cell, ""];
        const node = body.rows[i].cells[j];
        setText(node, text);
        setClass(node, `${heads[j][1] || ""} ${kind || ""}`.trim());
      });
    });
  };
  return { element: element("div", { class: "scroll flush" }, made), set };
}
