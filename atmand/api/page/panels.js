// Header, key figures, and the panels of feed, journal and parameters.

import { at, element, facts, keyed, setClass, setText, show, table, textCell } from "./dom.js";
import { bytes, change, clock, count, direction, duration, money, moment, percent, plain, ratio, word } from "./format.js";

export function renderHeader(status, health) {
  setText(at("instance"), status.instance);
  document.title = `${status.instance} · atmand`;
  const simulated = status.market === "simulated";
  setText(at("badge"), simulated ? "Paper money · simulated market" : "Paper money · real market");
  setText(at("clock"), clock(status.market_time));
  show(at("speed"), status.speed !== null);
  if (status.speed !== null) setText(at("speed"), `${plain(Math.round(status.speed * 10) / 10)}×`);
  at("speed").title = "Market seconds a second";
  show(at("starting"), status.phase === "starting");
  setText(at("starting-word"), status.starting ?? "One moment.");
  renderHealth(status, health);
  const costs = status.costs_as_of ? ` · costs as of ${status.costs_as_of}` : "";
  setText(at("about"), `atmand ${status.version}${costs} · session of ${status.day} · up ${duration(status.uptime_s)} · record ${count(status.sequence)}`);
}

function renderHealth(status, health) {
  const reasons = [...new Set([...health.live, ...health.startup, ...health.ready, ...health.trading])];
  if (!status.entries.allowed && status.entries.reason) reasons.push(`No new positions: ${word(status.entries.reason)}`);
  let [dot, words] = ["ok", "Trading"];
  if (status.phase !== "running") [dot, words] = ["warn", status.phase === "starting" ? "Starting" : "Stopping"];
  else if (health.live.length || health.ready.length) [dot, words] = ["bad", "Not ready"];
  else if (health.trading.length || !status.entries.allowed) [dot, words] = ["warn", "No entries"];
  setClass(at("dot"), `dot ${dot}`);
  setText(at("health-word"), words);
  keyed(
    at("health-reasons"), reasons.length ? reasons : ["Everything is well."], (reason) => reason,
    (reason) => element("li", { text: reason }), () => {},
  );
}

export function renderLost(since) {
  setClass(at("dot"), "dot bad");
  setText(at("health-word"), "Offline");
  setClass(at("banner"), "banner bad");
  setText(at("banner"), `Connection lost. Trying again by itself${since ? `; the figures are of ${since}` : ""}.`);
  show(at("banner"), true);
  at("main").classList.add("away");
}

export function renderBack() {
  show(at("banner"), false);
  setText(at("banner"), "");
  at("main").classList.remove("away");
}

export function renderFigures(accounts) {
  const choice = at("account");
  show(at("account-choice"), accounts.length > 1);
  keyed(choice, accounts, ({ name }) => name, ({ name }) => element("option", { value: name, text: name }), () => {});
  const one = accounts.find(({ name }) => name === choice.value) ?? accounts[0];
  if (!one) return;
  const day = one.day_return === null ? "" : percent(one.day_return, { sign: true });
  figures([
    ["Equity", money(one.equity_paise), `of ${money(one.capital_paise)} capital`],
    ["Today, after costs", change(one.day_profit_paise), day, direction(one.day_profit_paise)],
    ["Return", percent(one.total_return, { sign: true }), change(one.profit_paise), direction(one.profit_paise)],
    ["Volatility", percent(one.volatility), "a year"],
    ["Drawdown", percent(one.drawdown), `worst ${percent(one.worst_drawdown)}`],
    ["Trades", count(one.trades), `${count(one.positions)} open`],
    ["Win rate", percent(one.win_rate), `Sharpe ${ratio(one.sharpe)}`],
  ]);
}

function figures(rows) {
  keyed(
    at("figures"), rows, ([title]) => title,
    ([title]) => element("div", {}, [element("dt", { text: title }), element("dd", {}, [element("span"), element("small")])]),
    (node, [, value, below, tone = ""]) => {
      const [main, small] = node.lastElementChild.children;
      setText(main, value);
      setClass(main, tone);
      setText(small, below);
    },
  );
}

const FEED = { connecting: "warn", connected: "ok", stale: "warn", lost: "bad", closed: "" };

export function renderMachine({ feed, journal, ledger, counters }) {
  pill("feed-state", feed.state, FEED[feed.state]);
  const problem = (value) => (value ? "down" : "");
  facts(at("feed"), [
    ["Instruments", count(feed.instruments)],
    ["Ticks", count(feed.ticks)],
    ["Last tick", feed.last_tick_age_s === null ? "none yet" : feed.last_tick_age_s < 2 ? "just now" : `${duration(feed.last_tick_age_s)} ago`],
    ["Late ticks", count(feed.late_ticks)],
    ["Skipped packets", count(feed.skipped_packets), problem(feed.skipped_packets)],
    ["Dropped frames", count(feed.skipped_frames), problem(feed.skipped_frames)],
    ["Unknown tokens", count(feed.unknown_tokens), problem(feed.unknown_tokens)],
    ["Bars closed", count(counters.bars)],
  ]);
  const failed = journal.failed || ledger.failed;
  pill("journal-state", failed ? "failing" : "recording", failed ? "bad" : "ok");
  const rows = [
    ["Records", count(journal.appended)],
    ["On disk", count(journal.durable)],
    ["Waiting", bytes(journal.waiting_bytes)],
    ["Size", bytes(journal.bytes)],
    ["Free", bytes(journal.free_bytes)],
    ["Ledger at", `${count(ledger.sequence)}${ledger.waiting_rows ? `, ${count(ledger.waiting_rows)} rows wait` : ""}`],
    ["Orders, fills", `${count(counters.orders)}, ${count(counters.fills)}`],
    ["Entries refused", count(counters.refused)],
  ];
  if (journal.failed) rows.push(["Journal fails", journal.failed, "down"]);
  if (ledger.failed) rows.push(["Ledger fails", ledger.failed, "down"]);
  facts(at("journal"), rows);
}

function pill(id, text, tone) {
  setText(at(id), text);
  setClass(at(id), `pill ${tone}`);
}

const SOURCES = { current: ["current document", "ok"], last_good: ["last good document", "warn"], defaults: ["defaults", ""] };

const PARAMETERS = [
  { title: "Parameter", fill: textCell((row) => row.name) },
  { title: "Value", className: "right", fill: textCell((row) => `${plain(row.value)}${row.unit ? ` ${row.unit}` : ""}`, (row) => (row.value === row.default ? "" : "value")) },
  { title: "Default", className: "right", fill: textCell((row) => plain(row.default)) },
  { title: "From", fill: textCell((row) => word(row.from)) },
];

export function renderParams(document) {
  pill("params-source", ...(SOURCES[document.source] ?? [document.source, ""]));
  const { refused } = document;
  show(at("params-refused"), refused !== null);
  if (refused) setText(at("params-refused"), `Document ${refused.seq ?? ""} was refused: ${refused.reason}`.replace("  ", " "));
  facts(at("params"), [
    ["Document", document.seq ? `number ${count(document.seq)}` : "none"],
    ["By", document.author ?? "–"],
    ["Made", document.created ? moment(document.created) : "–"],
  ]);
  keyed(
    at("params-tables"), document.strategies, ({ name }) => name,
    ({ name }) => element("div", { className: "params" }, [element("h3", { text: name }), element("table", { className: "table dense" })]),
    (node, strategy) => table(node.lastElementChild, PARAMETERS, strategy.params, ({ name }) => name),
  );
}
