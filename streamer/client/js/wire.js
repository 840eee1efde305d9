// Records as bytes: the header of 40 bytes that docs/design/streams.md specifies.

export const VERSION = 1;
export const SUBPROTOCOL = "dicomrelay.streams.1";
export const TOKEN_PREFIX = "dicomrelay.bearer.";
export const HEADER_BYTES = 40;
export const PIECE = 1;
export const WORDS = 2;

const PIECE_BYTES = 262144;
const WORDS_BYTES = 16 * 1024 * 1024;

/** Something in a stream did not go as it should. */
export class StreamError extends Error {
  name = "StreamError";
}

/** The stream ended before all of its requests did: what came is whole, the rest is to be asked for again. */
export class StreamEnded extends StreamError {
  name = "StreamEnded";
}

/** The server did not do what it was asked for; `status` as in HTTP, `requestId` where it was about one request. */
export class StreamRefused extends StreamError {
  name = "StreamRefused";
  constructor(status, detail, requestId = 0) {
    super(`${status}: ${detail}`);
    this.status = status;
    this.requestId = requestId;
  }
}

/**
 * The header at the start of a record.
 * @param {Uint8Array} bytes at least 40 of them
 * @throws {StreamError} another version or kind, or more payload than a record may have
 */
export function decodeHeader(bytes) {
  if (bytes.byteLength < HEADER_BYTES) {
    throw new StreamError(`a record has a header of ${HEADER_BYTES} bytes; ${bytes.byteLength} came`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const header = {
    kind: view.getUint8(0),
    isLast: (view.getUint8(1) & 1) === 1,
    payloadBytes: view.getUint32(4, true),
    requestId: view.getUint32(8, true),
    position: view.getUint32(12, true),
    row: view.getUint32(16, true),
    frameNumber: view.getUint32(20, true),
    offset: Number(view.getBigUint64(24, true)),
    frameBytes: Number(view.getBigUint64(32, true)),
  };
  const version = view.getUint16(2, true);
  if (version !== VERSION) {
    throw new StreamError(`a record of version ${version} came; this program reads ${VERSION}`);
  }
  const most = { [PIECE]: PIECE_BYTES, [WORDS]: WORDS_BYTES }[header.kind];
  if (most === undefined || header.payloadBytes > most) {
    throw new StreamError(`a record of kind ${header.kind} with ${header.payloadBytes} bytes came`);
  }
  return header;
}
