/** From the samples of a frame to what is drawn: bits, signs, colour, modality LUT (PS3.3 Section C.7.6.3, C.11.1). No I/O. */

/** A lookup table: the first value that it maps, and its entries. */
export interface Table {
  first: number;
  bits: number;
  entries: number[];
}

/** What the attributes say of the samples of a frame. */
export interface Shape {
  syntax: string;
  rows: number;
  columns: number;
  samples: number;
  isPlanar: boolean;
  photometric: string;
  bitsAllocated: number;
  bitsStored: number;
  isSigned: boolean;
  isFloat: boolean;
  slope: number;
  intercept: number;
  modality: Table | null;
  palette: [Table, Table, Table] | null;
}

/** What is drawn: modality values, or red, green and blue of 8 bits. */
export interface Picture {
  pixels: Uint8Array | Int16Array | Uint16Array | Float32Array;
  isColor: boolean;
  rows: number;
  columns: number;
  min: number;
  max: number;
}

export type Samples = Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;

/** Samples as they are stored natively; little endian, as the server sends them. */
export function nativeSamples(shape: Shape, bytes: Uint8Array): Samples {
  const count = sampleCount(shape);
  if (shape.bitsAllocated === 1) return unpacked(bytes, count);
  const needed = count * (shape.bitsAllocated / 8);
  if (bytes.length < needed) throw new Error(`The frame has ${bytes.length} bytes where ${needed} are needed.`);
  // A view of 16 bits or more has to begin at a multiple of its size.
  const buffer = bytes.slice(0, needed).buffer;
  if (shape.bitsAllocated === 8) return new Uint8Array(buffer);
  if (shape.bitsAllocated === 16) return new Uint16Array(buffer);
  if (shape.bitsAllocated === 32) return shape.isFloat ? new Float32Array(buffer) : new Uint32Array(buffer);
  if (shape.bitsAllocated === 64 && shape.isFloat) return new Float64Array(buffer);
  throw new Error(`Samples of ${shape.bitsAllocated} bits are not shown here.`);
}

/** Bits of a packed frame, the lowest of a byte first (PS3.5 Section 8.1.1). */
function unpacked(bytes: Uint8Array, count: number): Uint8Array {
  if (bytes.length < Math.ceil(count / 8)) throw new Error("The frame is shorter than its rows and columns say.");
  return Uint8Array.from({ length: count }, (_, at) => (bytes[at >> 3]! >> (at & 7)) & 1);
}

/** RLE Lossless: a segment for each byte of each sample, the highest byte first (PS3.5 Annex G). */
export function rleSamples(shape: Shape, bytes: Uint8Array): Samples {
  const width = shape.bitsAllocated / 8;
  const plane = shape.rows * shape.columns;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const segments = view.getUint32(0, true);
  if (segments !== width * shape.samples) throw new Error(`The frame has ${segments} RLE segments where ${width * shape.samples} belong.`);
  const out = new Uint8Array(plane * shape.samples * width);
  for (let segment = 0; segment < segments; segment++) {
    const begin = view.getUint32(4 + 4 * segment, true);
    const end = segment + 1 < segments ? view.getUint32(8 + 4 * segment, true) : bytes.length;
    const sample = Math.floor(segment / width);
    const byte = width - 1 - (segment % width);
    unpackBits(bytes.subarray(begin, end), out, sample * width + byte, shape.samples * width, plane);
  }
  return nativeSamples({ ...shape, isFloat: false }, out);
}

function unpackBits(from: Uint8Array, to: Uint8Array, start: number, step: number, count: number): void {
  let at = 0;
  let made = 0;
  while (at < from.length && made < count) {
    const head = from[at++]!;
    if (head === 128) continue;
    const length = head < 128 ? head + 1 : 257 - head;
    for (let i = 0; i < length && made < count; i++, made++) to[start + made * step] = from[head < 128 ? at + i : at] ?? 0;
    at += head < 128 ? length : 1;
  }
}

const sampleCount = (shape: Shape): number => shape.rows * shape.columns * shape.samples;

/** What is drawn of samples. Compressed ones come pixel by pixel, and JPEG, JPEG 2000 and HTJ2K colour as red, green, blue. */
export function picture(shape: Shape, samples: Samples, { isRgb, isInterleaved }: { isRgb: boolean; isInterleaved: boolean }): Picture {
  if (samples.length < sampleCount(shape)) throw new Error("The frame holds fewer pixels than its rows and columns say.");
  const size = { rows: shape.rows, columns: shape.columns };
  if (shape.palette && shape.samples === 1) {
    return { pixels: throughPalette(shape, samples), isColor: true, ...size, min: 0, max: 255 };
  }
  if (shape.samples >= 3) return { pixels: color(shape, samples, isRgb, isInterleaved), isColor: true, ...size, min: 0, max: 255 };
  const values = modalityValues(shape, samples);
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { pixels: values, isColor: false, ...size, min, max };
}

/** The stored value of a sample: bits above Bits Stored are no part of it (PS3.5 Section 8.1.1). */
function storedValue(shape: Shape): (sample: number) => number {
  const unused = 32 - shape.bitsStored;
  if (shape.isFloat || unused <= 0) return shape.isSigned ? (sample) => sample | 0 : (sample) => sample;
  return shape.isSigned ? (sample) => (sample << unused) >> unused : (sample) => (sample << unused) >>> unused;
}

function modalityValues(shape: Shape, samples: Samples): Picture["pixels"] {
  const count = sampleCount(shape);
  const value = storedValue(shape);
  const { slope, intercept, modality } = shape;
  const isWhole = Number.isInteger(slope) && Number.isInteger(intercept) && !shape.isFloat && shape.bitsStored <= 16;
  const low = (shape.isSigned ? -(2 ** (shape.bitsStored - 1)) : 0) * slope + intercept;
  const high = 2 ** (shape.isSigned ? shape.bitsStored - 1 : shape.bitsStored) * slope + intercept;
  const isShort = !modality && isWhole && Math.min(low, high) >= -32768 && Math.max(low, high) <= 32768;
  const isByte = isShort && Math.min(low, high) >= 0 && Math.max(low, high) <= 256;
  const out = isByte ? new Uint8Array(count) : isShort ? new Int16Array(count) : new Float32Array(count);
  if (modality) for (let at = 0; at < count; at++) out[at] = looked(modality, value(samples[at]!));
  else if (isShort) for (let at = 0; at < count; at++) out[at] = Math.min(value(samples[at]!) * slope + intercept, 32767);
  else for (let at = 0; at < count; at++) out[at] = value(samples[at]!) * slope + intercept;
  return out;
}

/** The entry for a value; outside the table the nearest one (PS3.3 Section C.11.1.1). */
function looked(table: Table, value: number): number {
  const at = Math.min(Math.max(value - table.first, 0), table.entries.length - 1);
  return table.entries[at] ?? 0;
}

function throughPalette(shape: Shape, samples: Samples): Uint8Array {
  const value = storedValue(shape);
  const out = new Uint8Array(shape.rows * shape.columns * 3);
  const tables = shape.palette!.map((table) => {
    // Some write 8-bit entries and say 16: shifted they would be black.
    const shift = table.bits > 8 && table.entries.some((entry) => entry > 255) ? table.bits - 8 : 0;
    return { ...table, entries: table.entries.map((entry) => entry >> shift) };
  });
  for (let at = 0; at < shape.rows * shape.columns; at++) {
    for (let band = 0; band < 3; band++) out[3 * at + band] = looked(tables[band]!, value(samples[at]!));
  }
  return out;
}

function color(shape: Shape, samples: Samples, isRgb: boolean, isInterleaved: boolean): Uint8Array {
  const plane = shape.rows * shape.columns;
  const shift = Math.max(shape.bitsStored - 8, 0);
  const out = new Uint8Array(plane * 3);
  const [pixel, band] = shape.isPlanar && !isInterleaved ? [1, plane] : [shape.samples, 1];
  const isLuminance = !isRgb && shape.photometric.startsWith("YBR_FULL");
  for (let at = 0; at < plane; at++) {
    const from = at * pixel;
    const a = samples[from]! >> shift;
    const b = samples[from + band]! >> shift;
    const c = samples[from + 2 * band]! >> shift;
    if (isLuminance) toRgb(out, 3 * at, a, b - 128, c - 128);
    else {
      out[3 * at] = a;
      out[3 * at + 1] = b;
      out[3 * at + 2] = c;
    }
  }
  return out;
}

/** PS3.3 Section C.7.6.3.1.2. */
function toRgb(out: Uint8Array, at: number, y: number, cb: number, cr: number): void {
  out[at] = clamped(y + 1.402 * cr);
  out[at + 1] = clamped(y - 0.344136 * cb - 0.714136 * cr);
  out[at + 2] = clamped(y + 1.772 * cb);
}

const clamped = (value: number): number => Math.min(Math.max(Math.round(value), 0), 255);

/** YBR_FULL_422 as it is stored natively, two pixels in four samples, as whole triples (PS3.3 Section C.7.6.3.1.2). */
export function widened422(shape: Shape, bytes: Uint8Array): Uint8Array {
  const plane = shape.rows * shape.columns;
  const out = new Uint8Array(plane * 3);
  for (let at = 0; at < plane; at++) {
    const from = 4 * (at >> 1);
    out[3 * at] = bytes[from + (at & 1)] ?? 0;
    out[3 * at + 1] = bytes[from + 2] ?? 0;
    out[3 * at + 2] = bytes[from + 3] ?? 0;
  }
  return out;
}
