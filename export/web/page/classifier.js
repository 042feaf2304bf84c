// The page's side of worker.js. Only the newest request matters: while one runs, later ones replace each other.

export class Classifier {
  #worker;
  #running = null; // the request at the worker: {id, resolve, reject}
  #waiting = null; // the next request: {request, resolve, reject}
  #last = 0;

  constructor() {
    // A worker with a blob: address inherits the page's content policy; one with an http: address would have none.
    const source = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.#worker = new Worker(address, { type: "module" });
    this.ready = new Promise((resolve, reject) => {
      this.#worker.onerror = (event) => {
        const error = new Error(event.message || "worker.js cannot be loaded");
        reject(error);
        this.#running?.reject(error);
      };
      this.#worker.onmessage = ({ data }) => {
        if (data.id !== undefined) return this.#answer(data);
        URL.revokeObjectURL(address);
        return data.ready ? resolve() : reject(Object.assign(new Error(data.error), { kind: data.kind }));
      };
    });
  }

  // Resolves to the worker's answer, or to null when a later request has replaced this one.
  run(request) {
    return new Promise((resolve, reject) => {
      this.#waiting?.resolve(null);
      this.#waiting = { request, resolve, reject };
      if (!this.#running) this.#next();
    });
  }

  end() {
    this.#worker.terminate();
  }

  #next() {
    this.#running = this.#waiting && { id: ++this.#last, ...this.#waiting };
    this.#waiting = null;
    if (!this.#running) return;
    this.#worker.postMessage({ id: this.#running.id, ...this.#running.request });
  }

  #answer({ error, ...result }) {
    const { resolve, reject } = this.#running;
    if (this.#waiting) resolve(null);
    else if (error) reject(new Error(error));
    else resolve(result);
    this.#next();
  }
}
