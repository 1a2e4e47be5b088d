// A card for each strategy: what it is doing and why, in a sentence; its numbers; its parameters in force.

import { at, element, facts, keyed, setClass, setText, show } from "./dom.js";
import { change, count, direction, money, percent, plain, ratio, sideWord, symbol, word } from "./format.js";

const STATES = {
  warming: ["warming up", "warn"], waiting: ["waiting", ""], entering: ["entering", "accent"], in_trade: ["in trade", "ok"],
  exiting: ["exiting", "accent"], blocked: ["blocked", "bad"], paused: ["paused", "warn"], run_off: ["running off", "warn"],
};

export class Strategies {
  constructor() {
    this.params = new Map();
  }

  setParams(document) {
    this.params = new Map(document.strategies.map(({ name, params }) => [name, params]));
  }

  render(strategies, positions) {
    show(at("strategies-none"), strategies.length === 0);
    keyed(at("strategies"), strategies, ({ name }) => name, create, (card, strategy) => {
      const mine = positions.filter(({ strategy: name }) => name === strategy.name);
      this.update(card.parts, strategy, mine);
    });
  }

  update(parts, strategy, positions) {
    const [title, tone] = STATES[strategy.state] ?? [strategy.state, ""];
    setText(parts.name, strategy.name);
    setText(parts.summary, strategy.summary);
    setText(parts.pill, title);
    setClass(parts.pill, `pill ${tone}`);
    const lines = sentences(strategy, positions);
    keyed(
      parts.sentence, lines, (_line) => _line.key,
      () => element("p", {}, [element("span"), element("code")]),
      (node, { lead, rule, tone: className = "" }) => {
        setText(node.firstElementChild, lead);
        setClass(node.firstElementChild, className);
        setText(node.lastElementChild, rule ?? "");
        show(node.lastElementChild, Boolean(rule));
      },
    );
    const warming = strategy.state === "warming" && strategy.warming;
    show(parts.progress, Boolean(warming));
    if (warming) {
      parts.progress.max = strategy.warming.need;
      parts.progress.value = strategy.warming.have;
    }
    numbers(parts.numbers, strategy);
    chips(parts.params, this.params.get(strategy.name) ?? []);
    show(parts.params, parts.params.childElementCount > 0);
    instruments(parts, strategy.instruments);
  }
}

function create() {
  const parts = {
    name: element("h3"), summary: element("p", { className: "muted" }), pill: element("span", { className: "pill" }),
    sentence: element("div"), progress: element("progress", { "aria-label": "Bars for warming up" }),
    numbers: element("dl", { className: "mini" }), params: element("ul", { className: "chips", "aria-label": "Parameters in force" }),
    watched: element("summary"), instruments: element("ul", { className: "chips" }),
  };
  const card = element("article", { className: "panel card" }, [
    element("div", { className: "card-head" }, [element("div", {}, [parts.name, parts.summary]), parts.pill]),
    element("div", { className: "sentence" }, [parts.sentence, parts.progress]),
    parts.numbers, parts.params,
    element("details", {}, [parts.watched, parts.instruments]),
  ]);
  card.parts = parts;
  return card;
}

function sentences(strategy, positions) {
  switch (strategy.state) {
    case "warming":
      return [{ key: "warming", lead: strategy.warming ? `Warming up: ${count(strategy.warming.have)} of ${count(strategy.warming.need)} bars` : "Warming up" }];
    case "blocked":
      return [{ key: "blocked", lead: `Blocked by: ${word(strategy.blocked_by)}`, tone: "down" }];
    case "run_off":
      return [{ key: "run_off", lead: `Running off: ${strategy.life_reason}` }];
    case "paused":
      return [{ key: "paused", lead: "Paused: it opens nothing new" }];
    case "entering":
    case "exiting": {
      const names = strategy.instruments.filter(({ state }) => state === strategy.state).map(({ instrument }) => symbol(instrument));
      const lead = strategy.state === "entering" ? "Entering: order in the market for " : "Exiting: order in the market for ";
      return [{ key: "order", lead: lead + names.join(", ") }, ...held(positions)];
    }
    case "in_trade":
      return [...held(positions), ...blockedToo(strategy)];
    default:
      return waiting(strategy.waiting_for);
  }
}

function held(positions) {
  return positions.map((position) => ({
    key: `position ${position.trade_id}`,
    lead: `In trade: ${sideWord(position.side)} ${count(position.quantity)} ${symbol(position.instrument)}, ${change(position.profit_paise)}`,
    tone: direction(position.profit_paise),
  }));
}

const blockedToo = ({ blocked_by: reason }) => (reason ? [{ key: "blocked", lead: `No new entry: ${word(reason)}`, tone: "down" }] : []);

function waiting(rules) {
  const lines = ["long", "short"].filter((side) => rules?.[side]).map((side) => ({ key: side, lead: `Waiting for: ${side} when `, rule: rules[side] }));
  return lines.length ? lines : [{ key: "waiting", lead: "Waiting for its entry rule" }];
}

function numbers(list, book) {
  facts(list, [
    ["Equity", money(book.equity_paise)],
    ["Today", change(book.day_profit_paise), direction(book.day_profit_paise)],
    ["Return", percent(book.total_return, { sign: true }), direction(book.total_return ?? 0)],
    ["Drawdown", percent(book.drawdown)],
    ["Trades", count(book.trades)],
    ["Win rate", percent(book.win_rate)],
    ["Volatility", percent(book.volatility)],
    ["Sharpe", ratio(book.sharpe)],
    ["Costs", money(book.costs_paise)],
  ]);
}

function chips(list, params) {
  keyed(
    list, params, ({ name }) => name, () => element("li"),
    (node, one) => {
      setText(node, `${one.name} ${plain(one.value)}${one.unit ? ` ${one.unit}` : ""}`);
      setClass(node, one.value === one.default ? "" : "changed");
      const range = one.low === null ? "" : `, range ${plain(one.low)} to ${plain(one.high)}`;
      node.title = `default ${plain(one.default)}${range}; from ${word(one.from)}`;
    },
  );
}

function instruments(parts, rows) {
  setText(parts.watched, `Watches ${count(rows.length)} instruments`);
  keyed(
    parts.instruments, rows, ({ instrument }) => instrument, () => element("li"),
    (node, { instrument, state, quantity, blocked_by: reason }) => {
      const held = quantity ? ` ${change(quantity * 100).replace(/\.00$/, "")}` : "";
      const why = reason ? ` (${word(reason)})` : "";
      setText(node, `${symbol(instrument)}${held}: ${STATES[state]?.[0] ?? state}${why}`);
      setClass(node, state === "in_trade" ? "changed" : "");
    },
  );
}
