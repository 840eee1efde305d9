// The requests of one stream as the client knows them, pieces put together to frames. No I/O.

import { PIECE, StreamError, StreamRefused } from "./wire.js";

const MOST_FRAME_BYTES = 2 ** 31;

/** One request: its frames, what will not come of them, and whether it has ended. */
export class Request {
  /** How many positions it has; null until the server said so. */
  frames = null;
  /** Its rows: {seriesInstanceUid, sopInstanceUid, frames}. */
  instances = [];
  /** What will not come: {ranges: [[first position, how many], …], status, detail}. */
  missing = [];
  hasEnded = false;
  /** By row, what the words `instance` said. */
  facts = new Map();

  constructor(id) {
    this.id = id;
  }
}

export class Assembly {
  #requests = new Map();
  #underWay = new Map();
  #lastId = 0;
  /** What the server calls the stream. */
  name = "";

  get isIdle() {
    return this.#requests.size === 0;
  }

  /** A new request. */
  open() {
    const request = new Request(++this.#lastId);
    this.#requests.set(request.id, request);
    return request;
  }

  /** Take a piece; the frame that it completes, or null. */
  piece(header, payload) {
    const request = this.#requests.get(header.requestId);
    if (request === undefined) return null; // cancelled meanwhile
    const frame = this.#underWay.get(header.requestId) ?? { pieces: [], bytes: 0 };
    const end = header.offset + payload.byteLength;
    if (header.kind !== PIECE || header.offset !== frame.bytes || payload.byteLength !== header.payloadBytes) {
      throw new StreamError(`a piece at ${header.offset} came where one at ${frame.bytes} was due`);
    }
    if (end > header.frameBytes || header.isLast !== (end === header.frameBytes) || end > MOST_FRAME_BYTES) {
      throw new StreamError(`a piece does not fit its frame of ${header.frameBytes} bytes`);
    }
    frame.pieces.push(payload);
    frame.bytes = end;
    if (!header.isLast) {
      this.#underWay.set(header.requestId, frame);
      return null;
    }
    this.#underWay.delete(header.requestId);
    const instance = request.instances[header.row];
    const facts = request.facts.get(header.row);
    if (instance === undefined || facts === undefined) {
      throw new StreamError(`a frame of row ${header.row} came before what it is of`);
    }
    return {
      request,
      position: header.position,
      seriesInstanceUid: instance.seriesInstanceUid,
      sopInstanceUid: instance.sopInstanceUid,
      frameNumber: header.frameNumber,
      facts,
      data: joined(frame),
    };
  }

  /** Take words of the server. Throws StreamRefused when it did not do something. */
  hear(words) {
    const event = JSON.parse(words);
    if (event.event === "begun") {
      this.name = event.stream;
      return;
    }
    const request = this.#requests.get(event.id);
    if (event.event === "refused") {
      if (event.op === "open" && request !== undefined) this.#end(request);
      throw new StreamRefused(event.status, event.detail, event.id);
    }
    if (request !== undefined) this.#hearOf(request, event);
  }

  #hearOf(request, event) {
    switch (event.event) {
      case "opened":
        request.frames = event.frames;
        request.instances = event.series.flatMap(({ uid, instances }) =>
          instances.map(([sopInstanceUid, frames]) => ({ seriesInstanceUid: uid, sopInstanceUid, frames })),
        );
        break;
      case "instance":
        request.facts.set(event.row, event);
        break;
      case "missing":
        request.missing.push({ ranges: event.ranges, status: event.status, detail: event.detail });
        break;
      case "done":
      case "cancelled":
        this.#end(request);
        break;
      default: // of a later version
    }
  }

  #end(request) {
    request.hasEnded = true;
    this.#underWay.delete(request.id);
    this.#requests.delete(request.id);
  }
}

function joined({ pieces, bytes }) {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
