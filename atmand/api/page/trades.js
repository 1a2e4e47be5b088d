// Tables of what is open and what is closed, and the details of one trade.

import { at, element, facts, keyed, setClass, setText, show, table, textCell } from "./dom.js";
import { change, count, direction, money, moment, price, sideWord, symbol, word } from "./format.js";
import { read } from "./news.js";

const FIRST = matchMedia("(max-width: 860px)").matches ? 8 : 15;
const MORE = 50;
const RIGHT = "right";

const POSITIONS = [
  { title: "Instrument", className: "lead", fill: textCell((row) => symbol(row.instrument)) },
  { title: "Strategy", fill: textCell((row) => row.strategy) },
  { title: "Side", fill: textCell((row) => `${sideWord(row.side)} ${count(row.quantity)}`) },
  { title: "Entry", className: RIGHT, fill: textCell((row) => price(row.entry_price)) },
  { title: "Last", className: RIGHT, fill: textCell((row) => price(row.last_price)) },
  { title: "Value", className: RIGHT, fill: textCell((row) => money(row.value_paise)) },
  { title: "Profit after costs", className: "result", fill: textCell((row) => change(row.profit_paise), (row) => direction(row.profit_paise)) },
  { title: "Stop", className: RIGHT, fill: textCell((row) => price(row.stop_price)) },
  { title: "Target", className: RIGHT, fill: textCell((row) => price(row.target_price)) },
  { title: "Since", className: RIGHT, fill: textCell((row) => moment(row.entry_time)) },
];

export function renderPositions(positions) {
  table(at("positions"), POSITIONS, positions, (row) => `${row.trade_id} ${row.strategy} ${row.instrument}`);
  show(at("positions-none"), positions.length === 0);
  const sum = positions.reduce((total, { profit_paise: profit }) => total + profit, 0);
  setText(at("positions-sum"), positions.length ? change(sum) : "");
  setClass(at("positions-sum"), `number ${direction(sum)}`);
}

export class Trades {
  constructor() {
    this.rows = [];
    this.next = null;
    this.asked = 0;
    this.columns = [
      { title: "Closed", fill: textCell((row) => moment(row.exit_time)) },
      { title: "Instrument", className: "lead", fill: (cell, row) => this.opener(cell, row) },
      { title: "Strategy", fill: textCell((row) => row.strategy) },
      { title: "Side", fill: textCell((row) => `${sideWord(row.side)} ${count(row.quantity)}`) },
      { title: "Entry", className: RIGHT, fill: textCell((row) => price(row.entry_price)) },
      { title: "Exit", className: RIGHT, fill: textCell((row) => price(row.exit_price)) },
      { title: "Costs", className: "right minor", fill: textCell((row) => price(row.costs_paise / 100)) },
      { title: "Net profit", className: "result", fill: textCell((row) => change(row.net_paise), (row) => direction(row.net_paise)) },
      { title: "Reason", fill: textCell((row) => word(row.exit_reason)) },
    ];
    at("trades-past").addEventListener("change", () => this.load());
    at("trades-strategy").addEventListener("change", () => this.load());
    at("trades-more").addEventListener("click", () => this.older());
  }

  get filter() {
    const strategy = at("trades-strategy").value;
    return `past=${at("trades-past").checked}${strategy ? `&strategy=${encodeURIComponent(strategy)}` : ""}`;
  }

  setStrategies(names) {
    keyed(
      at("trades-strategy"), ["", ...names], (name) => name,
      (name) => element("option", { value: name, text: name || "all" }),
      () => {},
    );
  }

  // Ask for the newest; an answer that a later question has overtaken is dropped.
  async load() {
    const asked = (this.asked += 1);
    const answer = await read(`/v1/trades?limit=${FIRST}&${this.filter}`);
    if (asked !== this.asked) return;
    this.rows = answer.trades;
    this.next = answer.next;
    this.render();
  }

  async older() {
    const asked = this.asked;
    const answer = await read(`/v1/trades?limit=${MORE}&before=${encodeURIComponent(this.next)}&${this.filter}`);
    if (asked !== this.asked) return;
    this.rows.push(...answer.trades);
    this.next = answer.next;
    this.render();
  }

  add(fresh) {
    const known = new Set(this.rows.map(({ trade_id: id }) => id));
    const strategy = at("trades-strategy").value;
    const oldest = this.next && this.rows.length ? Date.parse(this.rows.at(-1).exit_time) : 0;
    const wanted = fresh.filter(
      (trade) => !known.has(trade.trade_id) && (!strategy || trade.strategy === strategy) && Date.parse(trade.exit_time) >= oldest,
    );
    if (wanted.length === 0) return;
    this.rows = [...wanted, ...this.rows].sort((a, b) => Date.parse(b.exit_time) - Date.parse(a.exit_time));
    this.render();
  }

  render() {
    table(at("trades"), this.columns, this.rows, ({ trade_id: id }) => id, { rowClass: (row) => (row.past ? "past" : "") });
    show(at("trades-none"), this.rows.length === 0);
    show(at("trades-more"), this.next !== null);
  }

  opener(cell, row) {
    if (cell.firstElementChild) return;
    const button = element("button", { type: "button", className: "link", text: symbol(row.instrument), title: "How this trade came about" });
    button.addEventListener("click", () => openTrade(row.trade_id));
    cell.append(button);
    if (row.past) cell.append(element("span", { className: "tag", text: "past" }));
  }
}

async function openTrade(id) {
  const body = at("trade-body");
  setText(at("trade-title"), `Trade ${id}`);
  body.replaceChildren(element("p", { className: "empty", text: "Loading …" }));
  if (!at("trade").open) at("trade").showModal();
  try {
    body.replaceChildren(...story(await read(`/v1/trades/${encodeURIComponent(id)}`)));
  } catch (error) {
    body.replaceChildren(element("p", { className: "callout", text: `It could not be read: ${error.message}` }));
  }
}

function story({ trade, fills, facts: told }) {
  const list = element("dl", { className: "facts" });
  facts(list, [
    ["Instrument", trade.instrument],
    ["Strategy and account", `${trade.strategy}, ${trade.account}${trade.past ? ", simulated past" : ""}`],
    ["Side", `${sideWord(trade.side)} ${count(trade.quantity)}, ${trade.product}`],
    ["Entry", `${price(trade.entry_price)} at ${moment(trade.entry_time)}`],
    ["Exit", `${price(trade.exit_price)} at ${moment(trade.exit_time)}, ${word(trade.exit_reason)}`],
    ["Gross", change(trade.gross_paise), direction(trade.gross_paise)],
    ["Costs", money(trade.costs_paise)],
    ["Net profit", change(trade.net_paise), direction(trade.net_paise)],
    ["Parameter document", count(trade.parameter_seq)],
  ]);
  const parts = [list];
  if (told.length) {
    const why = element("dl", { className: "facts" });
    facts(why, told.map(({ label, text }) => [label, text]));
    parts.push(element("h3", { text: "How it came about" }), why);
  }
  if (fills.length) {
    const made = element("table", { className: "table dense" });
    table(made, FILLS, fills, (fill) => fills.indexOf(fill));
    parts.push(element("h3", { text: "Fills" }), made);
  }
  return parts;
}

const FILLS = [
  { title: "Time", fill: textCell((row) => moment(row.time)) },
  { title: "For", fill: textCell((row) => `${row.purpose}, ${word(row.reason)}`) },
  { title: "Side", fill: textCell((row) => `${row.side.toLowerCase()} ${count(row.quantity)}`) },
  { title: "Price", className: RIGHT, fill: textCell((row) => price(row.price)) },
  { title: "Costs", className: RIGHT, fill: textCell((row) => price(row.costs_paise / 100)) },
];
