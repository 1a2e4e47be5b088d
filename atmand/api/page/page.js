// The page: asks once for what there is, then lives on the stream of news.

import { Chart } from "./chart.js";
import { at } from "./dom.js";
import { clock } from "./format.js";
import { News, read } from "./news.js";
import { renderBack, renderFigures, renderHeader, renderLost, renderMachine, renderParams } from "./panels.js";
import { Strategies } from "./strategies.js";
import { renderPositions, Trades } from "./trades.js";

const AGAIN_MS = 5000;

const strategies = new Strategies();
const trades = new Trades();
const chart = new Chart(wantEquity);
let last = null; // the newest news of status
let paramsKey = null;
let equityWanted = -Infinity;

// What is asked for, and where the answer goes. A question that fails is asked again, while the line stands.
const questions = {
  equity: async () => chart.replace((await read("/v1/equity?points=1000")).series),
  trades: () => trades.load(),
  params: async () => {
    const document = await read("/v1/params");
    renderParams(document);
    strategies.setParams(document);
    if (last) strategies.render(last.status.strategies, last.positions);
  },
};
const asking = new Map();

// A question that comes while its answer is under way is asked once more: the answer may be too old.
async function load(name) {
  if (asking.has(name)) return void asking.set(name, "again");
  asking.set(name, "once");
  try {
    await questions[name]();
  } catch {
    if (news.connected) setTimeout(() => load(name), AGAIN_MS);
  }
  const again = asking.get(name) === "again";
  asking.delete(name);
  if (again) load(name);
}

// A series that the ledger does not have yet must not become a question a second.
function wantEquity() {
  if (performance.now() - equityWanted < 2 * AGAIN_MS) return;
  equityWanted = performance.now();
  load("equity");
}

function show(fresh) {
  const startedNow = last?.status.phase === "starting" && fresh.status.phase !== "starting";
  last = fresh;
  const { status, positions, health, params } = fresh;
  renderHeader(status, health);
  renderFigures(status.accounts);
  strategies.render(status.strategies, positions);
  renderPositions(positions);
  renderMachine(status);
  trades.setStrategies(status.strategies.map(({ name }) => name));
  const key = JSON.stringify(params);
  if (key !== paramsKey) {
    paramsKey = key;
    load("params");
  }
  // The start folds the past: what was asked before it ended was too early.
  if (startedNow) {
    load("equity");
    load("trades");
  }
}

const news = new News("/v1/stream", {
  opened() {
    renderBack();
    Object.keys(questions).forEach(load);
  },
  lost: () => renderLost(last && clock(last.status.market_time)),
  status: show,
  equity: ({ series }) => chart.extend(series),
  trades: ({ trades: fresh }) => trades.add(fresh),
});

at("account").addEventListener("change", () => last && renderFigures(last.status.accounts));
