/** The worker: one frame at a time, from the bytes of the wire to what is drawn. */

import decodeHTJ2K from "../node_modules/@cornerstonejs/dicom-image-loader/dist/esm/shared/decoders/decodeHTJ2K.js";
import decodeJPEG2000 from "../node_modules/@cornerstonejs/dicom-image-loader/dist/esm/shared/decoders/decodeJPEG2000.js";
import decodeJPEG12 from "../node_modules/@cornerstonejs/dicom-image-loader/dist/esm/shared/decoders/decodeJPEGBaseline12Bit-js.js";
import decodeJPEG8 from "../node_modules/@cornerstonejs/dicom-image-loader/dist/esm/shared/decoders/decodeJPEGBaseline8Bit.js";
import decodeJPEGLossless from "../node_modules/@cornerstonejs/dicom-image-loader/dist/esm/shared/decoders/decodeJPEGLossless.js";
import decodeJPEGLS from "../node_modules/@cornerstonejs/dicom-image-loader/dist/esm/shared/decoders/decodeJPEGLS.js";
import decodeJPEGXL from "../node_modules/@cornerstonejs/dicom-image-loader/dist/esm/shared/decoders/decodeJPEGXL.js";

import { nativeSamples, picture, rleSamples, widened422, type Picture, type Samples, type Shape } from "./pixels";

export interface Task {
  id: number;
  shape: Shape;
  bytes: Uint8Array;
}
export interface Done {
  id: number;
  picture?: Picture;
  error?: string;
}

const JPEG = "1.2.840.10008.1.2.4.";
const NATIVE = new Set(["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]);

/** What the image loader's decoders are told; they give it back with the pixels. */
function imageFrame(shape: Shape): Record<string, unknown> {
  return {
    rows: shape.rows,
    columns: shape.columns,
    samplesPerPixel: shape.samples,
    photometricInterpretation: shape.photometric,
    planarConfiguration: shape.isPlanar ? 1 : 0,
    bitsAllocated: shape.bitsAllocated,
    bitsStored: shape.bitsStored,
    pixelRepresentation: shape.isSigned ? 1 : 0,
    signed: shape.isSigned,
    bytesPerPixel: shape.bitsAllocated <= 8 ? 1 : 2,
  };
}

/**
 * JPEG of 8 bits whose attributes say RGB, told so itself: without Adobe's or JFIF's marker libjpeg takes three components
 * for luminance and chrominance (PS3.5 Section 8.2.1).
 */
function marked(shape: Shape, bytes: Uint8Array): Uint8Array {
  if (shape.photometric !== "RGB" || shape.samples !== 3 || bytes[0] !== 0xff || bytes[1] !== 0xd8) return bytes;
  for (let at = 2; bytes[at] === 0xff && bytes[at + 1] !== 0xda; at += 2 + (bytes[at + 2]! << 8) + bytes[at + 3]!) {
    if (bytes[at + 1] === 0xe0 || bytes[at + 1] === 0xee) return bytes;
  }
  const adobe = [0xff, 0xee, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, 0];
  const out = new Uint8Array(bytes.length + adobe.length);
  out.set([0xff, 0xd8, ...adobe]);
  out.set(bytes.subarray(2), 2 + adobe.length);
  return out;
}

type Decoded = { pixelData: Samples };

/** The image loader's decoder for a compressed transfer syntax; null when there is none. */
function decoded(shape: Shape, bytes: Uint8Array): Promise<Decoded> | null {
  const frame = imageFrame(shape) as never;
  const number = shape.syntax.startsWith(JPEG) ? shape.syntax.slice(JPEG.length) : "";
  if (number === "50" || (number === "51" && shape.bitsAllocated === 8)) return decodeJPEG8(marked(shape, bytes) as never, frame) as Promise<Decoded>;
  if (number === "51") return decodeJPEG12(frame, bytes as never) as unknown as Promise<Decoded>;
  if (number === "57" || number === "70") return decodeJPEGLossless(frame, bytes as never) as unknown as Promise<Decoded>;
  if (number === "80" || number === "81") return decodeJPEGLS(bytes as never, frame) as unknown as Promise<Decoded>;
  if (number === "90" || number === "91") return decodeJPEG2000(bytes as never, frame) as unknown as Promise<Decoded>;
  if (["201", "202", "203"].includes(number)) return decodeHTJ2K(bytes as never, frame) as unknown as Promise<Decoded>;
  if (["110", "111", "112"].includes(number)) return decodeJPEGXL(bytes as never, frame) as unknown as Promise<Decoded>;
  return null;
}

async function made(shape: Shape, bytes: Uint8Array): Promise<Picture> {
  if (NATIVE.has(shape.syntax)) {
    const is422 = shape.samples === 3 && shape.photometric.endsWith("_422") && bytes.length < 3 * shape.rows * shape.columns;
    const samples = is422 ? widened422(shape, bytes) : nativeSamples(shape, bytes);
    return picture(shape, samples, { isRgb: false, isInterleaved: is422 });
  }
  if (shape.syntax === "1.2.840.10008.1.2.5") {
    return picture(shape, rleSamples(shape, bytes), { isRgb: false, isInterleaved: true });
  }
  const found = await decoded(shape, bytes);
  if (!found) throw new Error(`There is no decoder for transfer syntax ${shape.syntax} here.`);
  // JPEG of 8 bits comes out of libjpeg-turbo as red, green and blue, whatever it was in the file.
  const isRgb = shape.syntax === JPEG + "50" || shape.syntax === JPEG + "51";
  return picture(shape, found.pixelData, { isRgb, isInterleaved: true });
}

self.addEventListener("message", async (event: MessageEvent<Task>) => {
  const { id, shape, bytes } = event.data;
  try {
    const drawn = await made(shape, bytes);
    self.postMessage({ id, picture: drawn } satisfies Done, [drawn.pixels.buffer]);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    self.postMessage({ id, error: `The frame cannot be decoded: ${words}` } satisfies Done, []);
  }
});
