// Draws the sections of a page of research: notes, tables, charts, and candles with a choice of instruments.
"use strict";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function layout(given) {
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
  const whole = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: "system-ui, sans-serif" },
    margin: { l: 60, r: 20, t: 10, b: 40 },
    legend: { orientation: "h", y: 1.08 },
    hovermode: "x unified",
    ...given,
  };
  for (const name of ["xaxis", "yaxis", "yaxis2"]) {
    if (name !== "yaxis2" || given.yaxis2) whole[name] = { ...axis, ...given[name] };
  }
  return whole;
}

function draw(home, traces, given) {
  return Plotly.react(home, traces, layout(given), { responsive: true, displaylogo: false });
}

const kinds = {
  note(home, section) {
    home.append(element("p", section.text, "note"));
  },

  table(home, section) {
    const table = element("table");
    const head = table.createTHead().insertRow();
    for (const column of section.columns) head.append(element("th", column));
    const body = table.createTBody();
    for (const cells of section.rows) {
      const row = body.insertRow();
      for (const cell of cells) {
        const [text, sign] = Array.isArray(cell) ? cell : [cell, 0];
        row.append(element("td", text, sign > 0 ? "good" : sign < 0 ? "bad" : ""));
      }
    }
    home.append(table);
  },

  chart(home, section) {
    const plot = element("div", undefined, "chart");
    home.append(plot);
    draw(plot, section.traces, section.layout);
  },

  candles(home, section) {
    const choice = element("select");
    choice.setAttribute("aria-label", "Instrument");
    for (const name of Object.keys(section.instruments)) choice.append(element("option", name));
    const plot = element("div", undefined, "chart");
    home.append(choice, plot);
    const show = () => draw(plot, section.instruments[choice.value], section.layout);
    choice.addEventListener("change", show);
    show();
  },
};

for (const section of JSON.parse(document.getElementById("sections").textContent)) {
  const home = element("section");
  if (section.title) home.append(element("h2", section.title));
  document.querySelector("main").append(home);
  kinds[section.kind](home, section);
  if (section.caption) home.append(element("p", section.caption));
}
