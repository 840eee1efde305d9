// Scheduled streams of frames (docs/howto/stream-frames.md). A plain ES module: copy this folder, no build.
//
//   const stream = await StreamClient.connect("http://127.0.0.1:8080/");
//   const request = await stream.open({ study, series, primary: 120 });
//   for await (const frame of stream) draw(frame);
//
// Anywhere meanwhile: await stream.move(request, 300).

import { Assembly } from "./assembly.js";
import { HttpTransport, WebSocketTransport } from "./transports.js";
import { StreamError } from "./wire.js";

export { StreamEnded, StreamError, StreamRefused } from "./wire.js";

const WINDOW_BYTES = 8 * 1024 * 1024;

export class StreamClient {
  #transport;
  #assembly = new Assembly();
  #window;
  #taken = 0;

  /**
   * @param {string|URL} url the streamer, such as "http://127.0.0.1:8080/"
   * @param {object} [options]
   * @param {string} [options.token] a bearer token, where the streamer asks for one
   * @param {"websocket"|"http"} [options.transport] "http" where a proxy lets no WebSocket through
   * @param {number} [options.window] bytes that may be under way; a browser reads a WebSocket without end
   */
  static async connect(url, { token, transport = "websocket", window = WINDOW_BYTES } = {}) {
    const base = new URL(url);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    const Kind = { websocket: WebSocketTransport, http: HttpTransport }[transport];
    if (Kind === undefined) throw new StreamError(`there is no transport ${transport}`);
    const client = new StreamClient(new Kind(base, token), window);
    await client.#transport.open();
    await client.#transport.say([{ op: "credit", bytes: window }]);
    return client;
  }

  /** Use `StreamClient.connect`. */
  constructor(transport, window) {
    this.#transport = transport;
    this.#window = window;
  }

  /**
   * Ask for the frames of a study, a series or some instances.
   * @param {object} asked
   * @param {string} asked.study
   * @param {string} [asked.series]
   * @param {string[]} [asked.instances] SOP Instance UIDs
   * @param {[number, number]} [asked.frames] the first and the last of each instance, from 1
   * @param {number|{instance: string, frame: number}} [asked.primary] what is wanted first: a position from 0, or a frame
   * @param {"outward"|"forward"|"backward"} [asked.order]
   * @param {number} [asked.weight] 1 to 100: the share beside other requests
   * @param {boolean} [asked.paused]
   */
  async open(asked) {
    const request = this.#assembly.open();
    await this.#transport.say([{ ...asked, op: "open", id: request.id }]);
    return request;
  }

  /** Have frames go on from another primary index. */
  move(request, primary) {
    return this.#transport.say([{ op: "move", id: request.id, primary }]);
  }

  /** Give a request another share. */
  weigh(request, weight) {
    return this.#transport.say([{ op: "weight", id: request.id, weight }]);
  }

  /** Have no more frames of a request, until `resume`. */
  pause(request) {
    return this.#transport.say([{ op: "pause", id: request.id }]);
  }

  resume(request) {
    return this.#transport.say([{ op: "resume", id: request.id }]);
  }

  /** End a request, in the middle of a frame too. */
  cancel(request) {
    return this.#transport.say([{ op: "cancel", id: request.id }]);
  }

  /** Close the stream. */
  close() {
    this.#transport.close();
  }

  /** Frames as they come, until every request has ended. Throws StreamRefused, StreamEnded, StreamError. */
  async *[Symbol.asyncIterator]() {
    while (!this.#assembly.isIdle) {
      const { words, header, payload } = await this.#transport.take();
      if (words !== undefined) {
        this.#assembly.hear(words);
        continue;
      }
      const frame = this.#assembly.piece(header, payload);
      await this.#gaveRoom(header.payloadBytes);
      if (frame !== null) yield frame;
    }
  }

  async #gaveRoom(bytes) {
    this.#taken += bytes;
    if (this.#taken * 4 < this.#window) return;
    const taken = this.#taken;
    this.#taken = 0;
    await this.#transport.say([{ op: "credit", bytes: taken }]);
  }
}
