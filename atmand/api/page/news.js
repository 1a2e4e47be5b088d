// The line to the daemon: reads resources, listens to the stream, and comes back by itself when it is lost.

const QUIET_MS = 12000; // the daemon speaks every second
const AGAIN_MS = 2500;

export async function read(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error?.what ?? `status ${answer.status}`);
  return document;
}

export class News {
  // `handlers` has one function for each event, `opened` and `lost`.
  constructor(path, handlers) {
    this.path = path;
    this.handlers = handlers;
    this.connected = false;
    this.heard = 0;
    setInterval(() => this.watch(), 2000);
    document.addEventListener("visibilitychange", () => document.hidden || this.watch());
    this.open();
  }

  open() {
    clearTimeout(this.again);
    this.source?.close();
    this.heard = performance.now();
    const source = (this.source = new EventSource(this.path));
    source.onopen = () => this.hear(true);
    source.onerror = () => this.lose();
    for (const name of ["status", "equity", "trades"]) {
      source.addEventListener(name, (event) => {
        this.hear(false);
        this.handlers[name](JSON.parse(event.data));
      });
    }
  }

  hear(opened) {
    this.heard = performance.now();
    if (!this.connected || opened) {
      this.connected = true;
      this.handlers.opened();
    }
  }

  // A browser gives up after an answer that is no stream, so the next try is always ours.
  lose() {
    this.source.close();
    clearTimeout(this.again);
    this.again = setTimeout(() => this.open(), AGAIN_MS);
    this.connected = false;
    this.handlers.lost();
  }

  // A dead tunnel says nothing at all.
  watch() {
    if (performance.now() - this.heard > QUIET_MS) this.lose();
  }
}
