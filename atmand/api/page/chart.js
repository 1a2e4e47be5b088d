// The plot of equity: past sessions grey, this market's bright; one account in rupees, or several as profit.

import { at, element, keyed, setText } from "./dom.js";
import { change, money } from "./format.js";

const RANGES = [["all", "All"], ["past", "Past week"], ["today", "Today"]];
const COLOURS = ["--accent", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];
const CLOSED_NS = 2 * 3600e9; // a longer silence is a night or a weekend: it is cut out of the axis
const DRAW_MS = 2000;
const WEEK_NS = 7 * 86400e9;
const LAKH_PAISE = 100 * 100000;
const INDIA_MS = 5.5 * 3600e3;
const MOST_POINTS = 6000;

const stamp = (ns) => new Date(ns / 1e6 + INDIA_MS).toISOString().slice(0, 19).replace("T", " ");
const day = (ns) => stamp(ns).slice(0, 10);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  constructor(wantMore) {
    this.wantMore = wantMore;
    this.series = [];
    this.chosen = new Set();
    this.range = "all";
    this.drawn = 0;
    const script = at("plotly");
    script.addEventListener("load", () => this.draw());
    script.addEventListener("error", () => setText(at("plot"), "The plot's script did not load."));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.buttons();
  }

  // Take the whole past and present anew.
  replace(series) {
    if (this.series.length === 0) {
      for (const { name, kind } of series) if (kind === "account") this.chosen.add(`${kind} ${name}`);
    }
    this.series = series.map((one) => ({ ...one, key: `${one.kind} ${one.name}` }));
    this.buttons();
    this.draw();
  }

  // Take new points; what is not known yet is asked for.
  extend(series) {
    let points = 0;
    for (const { name, kind, points: fresh } of series) {
      const known = this.series.find((one) => one.key === `${kind} ${name}`);
      if (known === undefined) return this.wantMore();
      const last = known.points.at(-1)?.[0] ?? 0;
      known.points.push(...fresh.filter(([time]) => time > last));
      points = Math.max(points, known.points.length);
    }
    if (points > MOST_POINTS) return this.wantMore();
    this.later();
  }

  later() {
    if (this.waiting) return;
    const wait = Math.max(0, this.drawn + DRAW_MS - performance.now());
    this.waiting = setTimeout(() => { this.waiting = null; this.draw(); }, wait);
  }

  buttons() {
    keyed(
      at("ranges"), RANGES, ([name]) => name,
      ([name, title]) => this.button(title, () => { this.range = name; }),
      (node, [name]) => node.setAttribute("aria-pressed", String(this.range === name)),
    );
    keyed(
      at("series"), this.series, ({ key }) => key,
      ({ key, name }) => this.button(name, () => { this.chosen.delete(key) || this.chosen.add(key); }),
      (node, { key }) => {
        node.setAttribute("aria-pressed", String(this.chosen.has(key)));
        node.style.setProperty("--series", `var(${this.colourOf(key)})`);
      },
    );
  }

  button(title, act) {
    const made = element("button", { type: "button", text: title });
    made.addEventListener("click", () => { act(); this.buttons(); this.draw(); });
    return made;
  }

  colourOf(key) {
    const index = this.series.findIndex((one) => one.key === key);
    return COLOURS[Math.max(0, index) % COLOURS.length];
  }

  // The chosen series, each cut to the range.
  visible() {
    const newest = Math.max(...this.series.map(({ points }) => points.at(-1)?.[0] ?? 0));
    const inRange = {
      all: () => true,
      past: ([time]) => time > newest - WEEK_NS,
      today: ([time]) => day(time) === day(newest),
    }[this.range];
    return this.series
      .filter(({ key }) => this.chosen.has(key))
      .map((one) => ({ ...one, points: one.points.filter(inRange) }))
      .filter(({ points }) => points.length > 0);
  }

  draw() {
    if (!window.Plotly || this.series.length === 0) return;
    this.drawn = performance.now();
    const visible = this.visible();
    const several = visible.length > 1;
    const bases = visible.map(({ points }) => (several ? points[0][1] : 0));
    const highest = Math.max(0, ...visible.flatMap(({ points }, i) => points.map(([, y]) => Math.abs(y - bases[i]))));
    const unit = highest >= LAKH_PAISE ? LAKH_PAISE : 100;
    const traces = visible.flatMap((one, i) => this.traces(one, bases[i], several, unit));
    setText(at("equity-title"), several ? "Profit since the plot's beginning, ₹" : "Equity");
    at("plot").querySelector(".empty")?.remove();
    window.Plotly.react("plot", traces, this.layout(visible, unit), {
      displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset",
    });
    at("plot").setAttribute("aria-label", visible.map(spoken).join("; ") || "Nothing is selected");
  }

  traces({ name, key, points }, base, several, unit) {
    const safe = name.replaceAll("<", "&lt;"); // plotly reads some tags in a text
    const split = points.findIndex(([, , past]) => !past);
    const cut = split < 0 ? points.length : split;
    const one = (part, lineColour, width) => ({
      type: "scatter", mode: "lines", name: safe,
      x: part.map(([time]) => stamp(time)),
      y: part.map(([, equity]) => (equity - base) / unit),
      text: part.map(([, equity]) => (several ? `${safe} ${change(equity - base)}` : money(equity))),
      hovertemplate: `%{x|%a %-d %b, %H:%M}<br><b>%{text}</b><extra></extra>`,
      line: { color: lineColour, width, shape: "linear" },
    });
    const past = points.slice(0, cut);
    const live = points.slice(Math.max(0, cut - 1));
    const pastLine = one(past, several ? mixed(colour(this.colourOf(key))) : colour("--past"), 1.4);
    return cut === points.length ? [pastLine] : [pastLine, one(live, colour(this.colourOf(key)), 2)];
  }

  layout(visible, unit) {
    const times = visible.flatMap(({ points }) => points.map(([time]) => time)).sort((a, b) => a - b);
    const pastEnd = Math.max(0, ...visible.flatMap(({ points }) => points.filter(([, , past]) => past).map(([time]) => time)));
    const coarse = matchMedia("(pointer: coarse)").matches;
    const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), fixedrange: coarse, automargin: true };
    return {
      margin: { l: 8, r: 10, t: 8, b: 8 }, showlegend: false, hovermode: "closest", dragmode: coarse ? false : "zoom",
      uirevision: `${this.range} ${[...this.chosen].join()}`,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 11.5, color: colour("--muted") },
      hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--text") } },
      xaxis: { ...axis, type: "date", rangebreaks: nights(times), showgrid: false, nticks: at("plot").clientWidth < 500 ? 4 : 9, tickformatstops: TICKS },
      // Plotly groups by thousands, which reads as rupees only below a lakh.
      yaxis: { ...axis, side: "right", nticks: 6, tickprefix: visible.length > 1 ? "" : "₹", tickformat: ",~f", ticksuffix: unit === LAKH_PAISE ? " lakh" : "" },
      shapes: pastEnd ? [{
        type: "rect", xref: "x", yref: "paper", x0: stamp(times[0]), x1: stamp(pastEnd), y0: 0, y1: 1,
        fillcolor: colour("--past-soft"), line: { width: 0 }, layer: "below",
      }] : [],
      annotations: pastEnd ? [{
        xref: "x", yref: "paper", x: stamp(times[0]), y: 1, xanchor: "left", yanchor: "top", showarrow: false,
        text: "simulated past", font: { color: colour("--muted"), size: 11.5 }, xshift: 6,
      }] : [],
    };
  }
}

const TICKS = [
  { dtickrange: [null, 86400000 - 1], value: "%H:%M\n%-d %b" },
  { dtickrange: [86400000, null], value: "%-d %b" },
];

function nights(times) {
  const breaks = [];
  for (let i = 1; i < times.length; i += 1) {
    if (times[i] - times[i - 1] > CLOSED_NS) breaks.push({ bounds: [stamp(times[i - 1] + 60e9), stamp(times[i] - 60e9)] });
  }
  return breaks;
}

function spoken({ name, points }) {
  return `${name}: from ${money(points[0][1])} to ${money(points.at(-1)[1])}`;
}

// A colour with less weight, for the past of one of several lines.
function mixed(hex) {
  const parts = /^#(..)(..)(..)$/.exec(hex);
  return parts ? `rgba(${parts.slice(1).map((part) => parseInt(part, 16)).join(", ")}, .45)` : hex;
}
