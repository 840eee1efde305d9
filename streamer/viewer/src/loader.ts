/** Cornerstone's image loader for `relay:` ids: frames from the server, decoded by workers, and what it asks about them. */

import * as core from "@cornerstonejs/core";

import { get, onlyPart, TAG, text } from "./dicomweb";
import { framePath, serversPicture, shapeOf, spacing, voiFunction, type Frame } from "./frames";
import type { Picture, Shape } from "./pixels";
import type { Done, Task } from "./worker";

declare const WORKER: string;

const ACCEPT = 'multipart/related; type="application/octet-stream"; transfer-syntax=*';
const WORKERS = Math.max(1, Math.min(4, Math.floor((navigator.hardwareConcurrency || 2) / 2)));

/** What is known of a frame that was loaded. */
export interface Loaded {
  min: number;
  max: number;
  isColor: boolean;
  rows: number;
  columns: number;
  /** Why the server rendered it; "" where it was decoded here. */
  renderedBecause: string;
}

const frames = new Map<string, Frame>();
const loaded = new Map<string, Loaded>();
const pending = new Map<string, Promise<Picture & { renderedBecause: string }>>();
const ready = new Map<string, Picture>();
const shapes = new WeakMap<object, Promise<Shape>>();

/** The id of a frame for Cornerstone. */
export function imageId(frame: Frame): string {
  const id = `relay:${framePath(frame)}`;
  frames.set(id, frame);
  return id;
}

export const loadedOf = (id: string): Loaded | undefined => loaded.get(id);

/** Pools of workers: a frame goes to the first that is free. */
class Workers {
  private readonly free: Worker[] = [];
  private readonly waiting: ((worker: Worker) => void)[] = [];
  private made = 0;
  private next = 0;

  async decode(shape: Shape, bytes: Uint8Array): Promise<Picture> {
    const worker = await this.take();
    try {
      return await this.ask(worker, { id: this.next++, shape, bytes });
    } finally {
      const waiting = this.waiting.shift();
      if (waiting) waiting(worker);
      else this.free.push(worker);
    }
  }

  private async take(): Promise<Worker> {
    const found = this.free.pop();
    if (found) return found;
    if (this.made < WORKERS) {
      this.made++;
      const at = new URL(`./${WORKER}`, import.meta.url);
      // What it fetches itself stands beside it, and no fetch takes an address with a password in it.
      at.username = at.password = "";
      return new Worker(at, { type: "module" });
    }
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private ask(worker: Worker, task: Task): Promise<Picture> {
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<Done>) =>
        data.picture ? resolve(data.picture) : reject(new Error(data.error ?? "The frame cannot be decoded."));
      worker.onerror = (event) => reject(new Error(`The decoder does not run: ${event.message || "its file cannot be loaded"}.`));
      worker.postMessage(task, [task.bytes.buffer as ArrayBuffer]);
    });
  }
}

const workers = new Workers();

/** A frame as it is drawn: fetched, decoded; where that cannot be done, as the server renders it. */
export async function pictureOf(frame: Frame): Promise<Picture & { renderedBecause: string }> {
  const response = await get(framePath(frame), ACCEPT);
  const part = onlyPart(response.headers.get("Content-Type") ?? "", new Uint8Array(await response.arrayBuffer()));
  try {
    const shape = await shapeFor(frame);
    // The server says in which transfer syntax the frame is: what is stored natively is sent as explicit VR little endian.
    const syntax = /transfer-syntax="?([0-9.]+)/.exec(part.contentType)?.[1] ?? shape.syntax;
    return { ...(await workers.decode({ ...shape, syntax }, part.body.slice())), renderedBecause: "" };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    try {
      return { ...pixelsOf(await serversPicture(`${framePath(frame)}/rendered`)), renderedBecause: why };
    } catch {
      throw new Error(`${why} The server does not render it either; the instance can be downloaded.`);
    }
  }
}

/** Frames of one instance share what their attributes say, unless there are groups for each frame. */
function shapeFor(frame: Frame): Promise<Shape> {
  if (frame.attributes[TAG.perFrame]) return shapeOf(frame);
  let found = shapes.get(frame.attributes);
  if (!found) shapes.set(frame.attributes, (found = shapeOf(frame)));
  return found;
}

function pixelsOf(bitmap: ImageBitmap): Picture {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(width * height * 3);
  for (let at = 0; at < width * height; at++) pixels.set(data.subarray(4 * at, 4 * at + 3), 3 * at);
  return { pixels, isColor: true, rows: height, columns: width, min: 0, max: 255 };
}

/** Red, green and blue with the opacity that canvases have. */
export function withOpacity(pixels: Picture["pixels"]): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray((pixels.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; from < pixels.length; from += 3, to += 4) {
    out[to] = pixels[from]!;
    out[to + 1] = pixels[from + 1]!;
    out[to + 2] = pixels[from + 2]!;
  }
  return out;
}

function drawable(id: string, frame: Frame, found: Picture, useRGBA: boolean): core.Types.IImage {
  const { isColor, rows, columns, min, max } = found;
  const pixels = isColor && useRGBA ? withOpacity(found.pixels) : found.pixels;
  const numberOfComponents = isColor ? (useRGBA ? 4 : 3) : 1;
  const [rowPixelSpacing, columnPixelSpacing] = spacing(frame);
  const voxelManager = core.utilities.VoxelManager.createImageVoxelManager({
    scalarData: pixels as Uint8Array,
    width: columns,
    height: rows,
    numberOfComponents,
  });
  const canvas = (): HTMLCanvasElement => {
    const made = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
    made.getContext("2d")!.putImageData(new ImageData(withOpacity(found.pixels), columns, rows), 0, 0);
    return made;
  };
  return {
    imageId: id,
    dataType: pixels.constructor.name,
    color: isColor,
    rgba: isColor && useRGBA,
    numberOfComponents,
    rows,
    columns,
    height: rows,
    width: columns,
    rowPixelSpacing,
    columnPixelSpacing,
    slope: 1,
    intercept: 0,
    invert: text(frame.attributes, TAG.photometric) === "MONOCHROME1" && !isColor,
    minPixelValue: min,
    maxPixelValue: max,
    // By PS3.3 Section C.11.2.1.2.1 from min to max; a window of one value alone would have no order.
    windowCenter: (min + max + 1) / 2,
    windowWidth: Math.max(max - min + 1, 2),
    voiLUTFunction: voiFunction(frame),
    sizeInBytes: pixels.byteLength,
    // The modality LUT is applied. A slope with a fraction makes the drawing without WebGL turn floats into what it can draw.
    preScale: {
      enabled: true,
      scaled: true,
      scalingParameters: { rescaleSlope: pixels instanceof Float32Array ? 0.5 : 1, rescaleIntercept: 0 },
    },
    voxelManager,
    imageFrame: { photometricInterpretation: isColor ? "RGB" : text(frame.attributes, TAG.photometric) },
    getPixelData: () => pixels,
    getCanvas: isColor ? canvas : undefined,
  } as unknown as core.Types.IImage;
}

/** What Cornerstone asks of a frame. Every frame lies upright at the origin: what is shown is the image, not its place in the patient. */
function modules(type: string, id: string): object | undefined {
  const frame = frames.get(id);
  if (!frame) return undefined;
  const { attributes } = frame;
  const info = loaded.get(id);
  if (type === "imagePixelModule") {
    const isColor = info?.isColor ?? false;
    return {
      samplesPerPixel: isColor ? 3 : 1,
      photometricInterpretation: isColor ? "RGB" : text(attributes, TAG.photometric),
      bitsAllocated: isColor ? 8 : 16,
      bitsStored: isColor ? 8 : 16,
      highBit: isColor ? 7 : 15,
      pixelRepresentation: 0,
    };
  }
  if (type === "imagePlaneModule") {
    const [rowPixelSpacing, columnPixelSpacing] = spacing(frame);
    return {
      frameOfReferenceUID: "relay",
      rows: info?.rows ?? Number(text(attributes, TAG.rows)),
      columns: info?.columns ?? Number(text(attributes, TAG.columns)),
      rowPixelSpacing,
      columnPixelSpacing,
      rowCosines: [1, 0, 0],
      columnCosines: [0, 1, 0],
      imageOrientationPatient: [1, 0, 0, 0, 1, 0],
      imagePositionPatient: [0, 0, 0],
      usingDefaultValues: true,
    };
  }
  // No modality: Cornerstone would treat PET by rules of its own, where windows and values are ours.
  return type === "generalSeriesModule" ? { modality: "OT" } : undefined;
}

/** Fetch and decode a frame before Cornerstone is given it: what fails is our caller's, and never reaches Cornerstone's cache. */
export async function load(id: string): Promise<void> {
  if (core.cache.getImageLoadObject(id)) return;
  const frame = frames.get(id);
  if (!frame) throw new Error("There is no such frame.");
  let found = pending.get(id);
  if (!found) pending.set(id, (found = pictureOf(frame).finally(() => pending.delete(id))));
  const { min, max, isColor, rows, columns, renderedBecause } = await found;
  loaded.set(id, { min, max, isColor, rows, columns, renderedBecause });
  if (core.cache.getImageLoadObject(id)) return;
  ready.set(id, await found);
  // Without WebGL Cornerstone draws colour from four samples a pixel, with it from three.
  await core.imageLoader.loadAndCacheImage(id, { useRGBA: core.getShouldUseCPURendering() } as never);
}

/** Tell Cornerstone of all this, once. */
export function register(): void {
  core.init();
  core.metaData.addProvider(modules, 1000);
  core.imageLoader.registerImageLoader("relay", (id: string, options?: Record<string, unknown>) => {
    const [frame, found] = [frames.get(id), ready.get(id)];
    ready.delete(id);
    if (!frame || !found) return { promise: Promise.reject(new Error("This frame was not fetched.")) };
    return { promise: Promise.resolve(drawable(id, frame, found, options?.["useRGBA"] === true)) };
  });
}
