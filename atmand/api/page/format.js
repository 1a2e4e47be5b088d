// How figures read: rupees grouped the Indian way, percents with a sign, times of the market in India's zone.

const rupees = new Intl.NumberFormat("en-IN", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 0 });
const few = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 4 });
const clockForm = new Intl.DateTimeFormat("en-GB", {
  timeZone: "Asia/Kolkata", weekday: "short", day: "numeric", month: "short", year: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const momentForm = new Intl.DateTimeFormat("en-GB", {
  timeZone: "Asia/Kolkata", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const NONE = "–";
const MINUS = "\u2212";

const signed = (text, value) => (value > 0 ? "+" : value < 0 ? MINUS : "") + text;

export const money = (paise) => (paise < 0 ? MINUS : "") + "₹" + rupees.format(Math.abs(paise) / 100);
export const change = (paise) => signed(rupees.format(Math.abs(paise) / 100), paise);
export const price = (value) => (value === null ? NONE : rupees.format(value));
export const count = (value) => whole.format(value);
export const plain = (value) => few.format(value);
export const direction = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

export function percent(fraction, { sign = false } = {}) {
  if (fraction === null) return NONE;
  const text = Math.abs(fraction * 100).toFixed(2) + " %";
  return sign ? signed(text, fraction) : (fraction < 0 ? MINUS : "") + text;
}

export function ratio(value) {
  return value === null ? NONE : (value < 0 ? MINUS : "") + Math.abs(value).toFixed(2);
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  while (value >= 1000 && step < units.length - 1) { value /= 1000; step += 1; }
  return `${value >= 100 || step === 0 ? Math.round(value) : value.toFixed(1)} ${units[step]}`;
}

export function clock(iso) {
  const part = Object.fromEntries(clockForm.formatToParts(new Date(iso)).map(({ type, value }) => [type, value]));
  return `${part.weekday} ${part.day} ${part.month} ${part.year}, ${part.hour}:${part.minute}:${part.second} IST`;
}

export const moment = (iso) => momentForm.format(new Date(iso)).replace(",", "");

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

// A durable key reads as its symbol: NSE:EQ:INFY is INFY.
export const symbol = (key) => key.split(":").slice(2).join(" ") || key;
export const sideWord = (side) => (side === "BUY" ? "long" : "short");

const WORDS = {
  daily_loss: "daily loss limit", entries_off: "entries are switched off", outside_window: "outside the entry window",
  partial_bar: "a bar with a gap in it", no_quote: "no quote", stale: "market data is silent", zero_quantity: "too little capital for one share",
  order_value: "order value limit", position_value: "position value limit", open_positions: "limit of open positions",
  orders_a_day: "limit of orders a day", cash: "not enough cash", capacity: "order table full", band: "price band",
  freeze: "freeze quantity", short_delivery: "no short selling for delivery", self_cross: "would meet our own order",
  rule: "rule", stop: "stop", target: "target", square_off: "square-off", session_end: "session's end",
};
export const word = (name) => (name ? WORDS[name] ?? name.replaceAll("_", " ") : NONE);
