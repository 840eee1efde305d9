/** Thumbnails: the server's where it makes them, else the middle frame of the series drawn small. In view first, two at a time. */

import { getAttributes, seriesPath } from "./dicomweb";
import { framesOf, serversPicture, windows, type Frame } from "./frames";
import { pictureOf, withOpacity } from "./loader";
import { TAG, text } from "./dicomweb";

const SIZE = 128;
const AT_ONCE = 2;

let running = 0;
const waiting: (() => Promise<void>)[] = [];

function next(): void {
  const job = running < AT_ONCE ? waiting.shift() : undefined;
  if (!job) return;
  running++;
  void job().finally(() => {
    running--;
    next();
  });
  next();
}

/** Draw the thumbnail of a series into a canvas, once it comes into view. */
export function thumbnail(canvas: HTMLCanvasElement, study: string, series: string, signal: AbortSignal): void {
  canvas.width = canvas.height = SIZE;
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    waiting.push(() => draw(canvas, study, series, signal));
    next();
  });
  watch.observe(canvas);
  signal.addEventListener("abort", () => watch.disconnect());
}

async function draw(canvas: HTMLCanvasElement, study: string, series: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    place(canvas, await serversPicture(`${seriesPath(study, series)}/thumbnail`, signal));
    canvas.dataset["state"] = "shown";
  } catch {
    try {
      const frames = framesOf(await getAttributes(`${seriesPath(study, series)}/metadata`, signal));
      const middle = frames[Math.floor(frames.length / 2)];
      if (!middle) throw new Error("There are no images in this series.");
      place(canvas, await bitmapOf(middle));
      canvas.dataset["state"] = "made";
    } catch {
      // What is wrong is said when the series is opened; the list has its modality and its description.
      canvas.dataset["state"] = "none";
    }
  }
}

function place(canvas: HTMLCanvasElement, picture: ImageBitmap): void {
  const scale = Math.min(SIZE / picture.width, SIZE / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  canvas.getContext("2d")!.drawImage(picture, (SIZE - width) / 2, (SIZE - height) / 2, width, height);
}

/** A frame through its first window. */
async function bitmapOf(frame: Frame): Promise<ImageBitmap> {
  const { pixels, isColor, rows, columns, min, max } = await pictureOf(frame);
  if (isColor) return createImageBitmap(new ImageData(withOpacity(pixels), columns, rows));
  const window = windows(frame)[0];
  const [low, high] = window ? [window.center - window.width / 2, window.center + window.width / 2] : [min, max];
  const isDarkHigh = text(frame.attributes, TAG.photometric) === "MONOCHROME1";
  const gray = new Uint8Array(pixels.length * 3);
  for (let at = 0; at < pixels.length; at++) {
    const level = Math.min(Math.max(((pixels[at]! - low) / Math.max(high - low, 1e-6)) * 255, 0), 255);
    gray.fill(isDarkHigh ? 255 - level : level, 3 * at, 3 * at + 3);
  }
  return createImageBitmap(new ImageData(withOpacity(gray), columns, rows));
}
