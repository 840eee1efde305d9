// The two ways of a stream: a WebSocket, and the answer to a POST. Both give records, and hold them until they are taken.

import { HEADER_BYTES, StreamEnded, StreamRefused, SUBPROTOCOL, TOKEN_PREFIX, WORDS, decodeHeader } from "./wire.js";

/** A queue that is read with `await`; what went wrong is thrown behind what came before it. */
class Mailbox {
  #records = [];
  #error = null;
  #wake = () => {};

  put(record) {
    this.#records.push(record);
    this.#wake();
  }

  fail(error) {
    this.#error ??= error;
    this.#wake();
  }

  async take() {
    while (this.#records.length === 0) {
      if (this.#error !== null) throw this.#error;
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#records.shift();
  }
}

export class WebSocketTransport {
  #socket;
  #mailbox = new Mailbox();

  constructor(base, token) {
    const url = new URL("streams", base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const tokens = token === undefined ? [] : [TOKEN_PREFIX + token];
    this.#socket = new WebSocket(url, [SUBPROTOCOL, ...tokens]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onmessage = ({ data }) => {
      try {
        this.#mailbox.put(typeof data === "string" ? { words: data } : record(new Uint8Array(data)));
      } catch (error) {
        this.#mailbox.fail(error);
        this.#socket.close();
      }
    };
    this.#socket.onclose = ({ code, reason }) =>
      this.#mailbox.fail(new StreamEnded(`the stream ended early: ${code} ${reason}`));
  }

  /** Wait for the handshake. A browser does not say why one failed. */
  async open() {
    if (this.#socket.readyState === WebSocket.OPEN) return;
    await new Promise((resolve, reject) => {
      this.#socket.onopen = resolve;
      this.#socket.onerror = () => reject(new StreamEnded("the server gave no WebSocket"));
    });
  }

  async say(listed) {
    if (this.#socket.readyState !== WebSocket.OPEN) return; // taking the next record says why
    for (const words of listed) this.#socket.send(JSON.stringify(words));
  }

  take() {
    return this.#mailbox.take();
  }

  close() {
    this.#socket.close();
  }
}

export class HttpTransport {
  #base;
  #headers;
  #unsaid = [];
  #reader = null;
  #buffer = new Uint8Array(0);
  #abort = new AbortController();
  #name = "";

  constructor(base, token) {
    this.#base = base;
    this.#headers = { "Content-Type": "application/json" };
    if (token !== undefined) this.#headers.Authorization = `Bearer ${token}`;
  }

  async open() {}

  async say(listed) {
    if (this.#name === "") {
      this.#unsaid.push(...listed);
      return;
    }
    const answer = await this.#post(`streams/${this.#name}`, listed);
    // 404: it may have ended while the words were under way.
    const isOpen = listed.some(({ op }) => op === "open");
    if (answer.status !== 202 && (answer.status !== 404 || isOpen)) throw await refusal(answer);
  }

  async take() {
    if (this.#reader === null) {
      const answer = await this.#post("streams", this.#unsaid.splice(0));
      if (answer.status !== 200) throw await refusal(answer);
      this.#reader = answer.body.getReader();
    }
    const header = decodeHeader(await this.#read(HEADER_BYTES));
    const payload = await this.#read(header.payloadBytes);
    if (header.kind !== WORDS) return { header, payload };
    const words = new TextDecoder().decode(payload);
    await this.#named(words);
    return { words };
  }

  close() {
    this.#abort.abort();
  }

  async #named(words) {
    const event = JSON.parse(words);
    if (event.event !== "begun") return;
    this.#name = event.stream;
    if (this.#unsaid.length > 0) await this.say(this.#unsaid.splice(0));
  }

  #post(path, listed) {
    return fetch(new URL(path, this.#base), {
      method: "POST",
      headers: this.#headers,
      body: JSON.stringify(listed),
      signal: this.#abort.signal,
    });
  }

  async #read(size) {
    const parts = [this.#buffer];
    let length = this.#buffer.byteLength;
    while (length < size) {
      const { done, value } = await this.#reader.read().catch(() => ({ done: true }));
      if (done) throw new StreamEnded("the stream ended early");
      parts.push(value);
      length += value.byteLength;
    }
    const whole = parts.length === 1 ? parts[0] : new Uint8Array(await new Blob(parts).arrayBuffer());
    this.#buffer = whole.subarray(size);
    return whole.subarray(0, size);
  }
}

function record(bytes) {
  return { header: decodeHeader(bytes), payload: bytes.subarray(HEADER_BYTES) };
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  return new StreamRefused(answer.status, problem.detail ?? "the server gave no stream");
}
