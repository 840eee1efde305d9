/** The frames of a series, in order, and what their attributes say of how to show them. */

import { binary, get, instancePath, item, number, numbers, TAG, text, type Attributes, type Element, type Place } from "./dicomweb";
import type { Shape, Table } from "./pixels";

/** One frame of one instance. `frameNumber` counts from 1. */
export interface Frame {
  place: Place;
  frameNumber: number;
  frameCount: number;
  attributes: Attributes;
}

/** A window: what is black and what is white lie around its centre. */
export interface Window {
  name: string;
  center: number;
  width: number;
}

const NATIVE = "1.2.840.10008.1.2.1";

/** Whether an instance has pixels to show. */
export function hasPixels(attributes: Attributes): boolean {
  return (number(attributes, TAG.rows) ?? 0) > 0 && (number(attributes, TAG.columns) ?? 0) > 0 && !!attributes[TAG.bitsAllocated];
}

/** The frames of instances, by Instance Number, then by UID; those without pixels left out. */
export function framesOf(instances: Attributes[]): Frame[] {
  const order = (attributes: Attributes): number => number(attributes, TAG.instanceNumber) ?? Number.MAX_SAFE_INTEGER;
  const sorted = [...instances].filter(hasPixels).sort((a, b) => {
    const [first, second] = [text(a, TAG.sopInstance), text(b, TAG.sopInstance)];
    return order(a) - order(b) || (first < second ? -1 : 1);
  });
  return sorted.flatMap((attributes) => {
    const frameCount = Math.max(number(attributes, TAG.frames) ?? 1, 1);
    return Array.from({ length: frameCount }, (_, at) => ({ place: placeOf(attributes), frameNumber: at + 1, frameCount, attributes }));
  });
}

export function placeOf(attributes: Attributes): Place {
  return { study: text(attributes, TAG.study), series: text(attributes, TAG.series), instance: text(attributes, TAG.sopInstance) };
}

export const framePath = (frame: Frame): string => `${instancePath(frame.place)}/frames/${frame.frameNumber}`;

/** A macro of an enhanced instance: the frame's own, else the shared one, else the data set itself. */
function group(frame: Frame, sequence: string): Attributes {
  const own = frame.attributes[TAG.perFrame]?.Value?.[frame.frameNumber - 1] as Attributes | undefined;
  return item(own, sequence) ?? item(item(frame.attributes, TAG.shared), sequence) ?? frame.attributes;
}

/** Millimetres between rows and between columns; their ratio alone where nothing is calibrated. */
export function spacing(frame: Frame): [number, number] {
  for (const found of [numbers(group(frame, TAG.measures), TAG.spacing), numbers(frame.attributes, TAG.imagerSpacing)]) {
    if (found.length === 2 && found[0]! > 0 && found[1]! > 0) return [found[0]!, found[1]!];
  }
  const aspect = numbers(frame.attributes, TAG.aspect);
  return aspect.length === 2 && aspect[0]! > 0 && aspect[1]! > 0 ? [aspect[0]! / aspect[1]!, 1] : [1, 1];
}

/** The windows that the instance brings, the first of which is shown. */
export function windows(frame: Frame): Window[] {
  const from = group(frame, TAG.frameVoi);
  const widths = numbers(from, TAG.width);
  const names = from[TAG.windowExplanation]?.Value ?? [];
  return numbers(from, TAG.center)
    .map((center, at) => ({ name: String(names[at] ?? `Window ${at + 1}`), center, width: widths[at] ?? 0 }))
    .filter((window) => window.width > 0);
}

export function voiFunction(frame: Frame): string {
  return text(group(frame, TAG.frameVoi), TAG.voiFunction) || "LINEAR";
}

/** Frames a second for cine, as the instance asks for it. */
export function frameRate(frame: Frame): number | undefined {
  const time = number(frame.attributes, TAG.frameTime);
  const rate = number(frame.attributes, TAG.cineRate) ?? (time && time > 0 ? 1000 / time : undefined);
  return rate && rate > 0 ? Math.min(Math.max(rate, 1), 60) : undefined;
}

/** What the pixels of a frame are. */
export async function shapeOf(frame: Frame): Promise<Shape> {
  const { attributes } = frame;
  const transformation = group(frame, TAG.transformation);
  const bitsAllocated = number(attributes, TAG.bitsAllocated) ?? 16;
  const photometric = text(attributes, TAG.photometric);
  const isSigned = number(attributes, TAG.pixelRepresentation) === 1;
  return {
    syntax: text(attributes, TAG.transferSyntax) || NATIVE,
    rows: number(attributes, TAG.rows) ?? 0,
    columns: number(attributes, TAG.columns) ?? 0,
    samples: number(attributes, TAG.samples) ?? 1,
    isPlanar: number(attributes, TAG.planar) === 1,
    photometric,
    bitsAllocated,
    bitsStored: number(attributes, TAG.bitsStored) ?? bitsAllocated,
    isSigned,
    // Float and Double Float Pixel Data have no Pixel Representation (PS3.3 Section C.7.6.24).
    isFloat: bitsAllocated >= 32 && !attributes[TAG.pixelRepresentation],
    slope: number(transformation, TAG.slope) || 1,
    intercept: number(transformation, TAG.intercept) ?? 0,
    modality: await modalityTable(attributes, isSigned),
    palette: photometric === "PALETTE COLOR" ? await palette(attributes, isSigned) : null,
  };
}

async function modalityTable(attributes: Attributes, isSigned: boolean): Promise<Table | null> {
  const found = item(attributes, TAG.modalityLut);
  return found ? table(numbers(found, TAG.lutDescriptor), found[TAG.lutData], isSigned) : null;
}

async function palette(attributes: Attributes, isSigned: boolean): Promise<[Table, Table, Table]> {
  if (attributes["00281221"]) throw new Error("This palette comes in segments, which are not shown here.");
  const tables = await Promise.all(
    ["1", "2", "3"].map((band) => table(numbers(attributes, `0028110${band}`), attributes[`0028120${band}`], isSigned)),
  );
  return tables as [Table, Table, Table];
}

/** A lookup table by its descriptor: entries, first value mapped, bits of an entry (PS3.3 Section C.11.1.1). */
async function table(descriptor: number[], data: Element | undefined, isSigned: boolean): Promise<Table> {
  const [stated, first, bits] = descriptor;
  if (stated === undefined || first === undefined || bits === undefined) throw new Error("A lookup table has no descriptor.");
  const count = stated === 0 ? 65536 : stated < 0 ? stated + 65536 : stated;
  const entries = data?.Value ? data.Value.map(Number) : entriesOf(await binary(data), count);
  if (entries.length === 0) throw new Error("A lookup table is not in the metadata.");
  // Written as a signed number where the pixels are signed, whatever the VR in the file says.
  const start = isSigned ? (first << 16) >> 16 : first & 0xffff;
  return { first: start, bits, entries: entries.slice(0, count) };
}

/** Entries of 16 bits, or of 8 where there are no more bytes than that. */
function entriesOf(bytes: Uint8Array | null, count: number): number[] {
  if (!bytes) return [];
  if (bytes.length < 2 * count) return [...bytes];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, at) => view.getUint16(2 * at, true));
}

/** The picture that the server makes of a frame, or of an instance: for thumbnails and for what cannot be decoded here. */
export async function serversPicture(path: string, signal?: AbortSignal): Promise<ImageBitmap> {
  const response = await get(path, "image/png, image/jpeg", signal);
  const type = response.headers.get("Content-Type") ?? "";
  if (!/^image\/(png|jpeg)/i.test(type)) throw new Error("The server sent no picture.");
  return createImageBitmap(await response.blob());
}
