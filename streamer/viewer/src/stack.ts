/** The viewport: a stack of frames, its window, zoom and pan, drawn by Cornerstone. */

import * as core from "@cornerstonejs/core";

import { TAG, text } from "./dicomweb";
import { voiFunction, windows, type Frame, type Window } from "./frames";
import { imageId, load, loadedOf, register } from "./loader";

const ENGINE = "relay";
const VIEWPORT = "stack";
const AHEAD = 12;
const AT_ONCE = 3;
const CACHE_BYTES = 1_000_000_000;

type StackViewport = core.Types.IStackViewport;

/** What the viewport tells whoever listens. */
export interface Shown {
  index: number;
  frame: Frame;
  window: Window | null;
  zoom: number;
  isInverted: boolean;
  renderedBecause: string;
}

/** A stack of frames in an element. Frames beside the one shown are fetched ahead, the nearest first. */
export class Stack {
  private readonly engine: core.RenderingEngine;
  private frames: Frame[] = [];
  private ids: string[] = [];
  private index = 0;
  private wanted = 0;
  private asked = 0;
  private chosen: Window | null = null;
  private isInverted = false;
  private fetching = 0;
  private readonly failedAhead = new Set<string>();
  private readonly sizes = new ResizeObserver(() => this.resized());

  constructor(
    private readonly element: HTMLDivElement,
    private readonly told: (shown: Shown) => void,
    private readonly failed: (error: unknown, index: number) => void,
  ) {
    register();
    core.cache.setMaxCacheSize(CACHE_BYTES);
    // One for the page's life: browsers have few WebGL contexts, and one that is given up goes when it is collected.
    this.engine = (core.getRenderingEngine(ENGINE) as core.RenderingEngine | undefined) ?? new core.RenderingEngine(ENGINE);
    this.engine.enableElement({ viewportId: VIEWPORT, type: core.Enums.ViewportType.STACK, element });
    this.sizes.observe(element);
    element.addEventListener(core.Enums.Events.IMAGE_RENDERED, () => this.placed());
  }

  get length(): number {
    return this.frames.length;
  }

  get current(): number {
    return this.wanted;
  }

  get frame(): Frame | undefined {
    return this.frames[this.index];
  }

  private get viewport(): StackViewport {
    return this.engine.getViewport(VIEWPORT) as StackViewport;
  }

  /** The whole of a series of which one image is shown: the window that was chosen stays. */
  async grow(frames: Frame[], index: number): Promise<void> {
    const { chosen, isInverted } = this;
    await this.open(frames, index);
    if (!chosen && !isInverted) return;
    this.chosen = chosen;
    this.isInverted = isInverted;
    this.applied();
  }

  /** Show other frames, from one of them on. */
  async open(frames: Frame[], index = 0): Promise<void> {
    this.frames = frames;
    this.ids = frames.map(imageId);
    this.chosen = null;
    this.isInverted = false;
    this.index = this.wanted = index;
    this.failedAhead.clear();
    await this.show(index, true);
  }

  /** Show nothing. */
  clear(): void {
    this.asked++;
    this.frames = this.ids = [];
    this.index = this.wanted = 0;
  }

  /** Give up the element; the frames that are cached go too. */
  close(): void {
    this.clear();
    this.sizes.disconnect();
    this.engine.disableElement(VIEWPORT);
    core.cache.purgeCache();
  }

  /** Show a frame of the stack; of many asked for in a row the last one is what counts. */
  async show(index: number, isNew = false): Promise<void> {
    const id = this.ids[index];
    const turn = ++this.asked;
    if (id === undefined) return;
    this.wanted = index;
    this.element.dataset["state"] = "loading";
    try {
      await load(id);
      if (turn !== this.asked) return;
      // The kind of pixels may change from one frame of a series to the next: then the stack begins anew.
      const isOther = isNew || this.isOtherKind(id);
      if (isOther) await this.viewport.setStack(this.ids, index);
      else await this.viewport.setImageIdIndex(index);
      if (turn !== this.asked) return;
      this.index = index;
      if (isOther) this.viewport.resetCamera();
      this.applied();
      this.ahead();
    } catch (error) {
      if (turn !== this.asked) return;
      this.index = index;
      this.element.dataset["state"] = "failed";
      this.failed(error, index);
      this.ahead();
    }
  }

  private isOtherKind(id: string): boolean {
    const [before, after] = [loadedOf(this.ids[this.index]!), loadedOf(id)];
    return before?.isColor !== after?.isColor || before?.rows !== after?.rows || before?.columns !== after?.columns;
  }

  /** The window in force: the one chosen, else the first of the instance, else all there is between darkest and brightest. */
  get window(): Window | null {
    const frame = this.frame;
    const info = loadedOf(this.ids[this.index] ?? "");
    if (!frame || !info || info.isColor) return null;
    return this.chosen ?? windows(frame)[0] ?? this.everything();
  }

  everything(): Window {
    const info = loadedOf(this.ids[this.index] ?? "");
    const [min, max] = [info?.min ?? 0, info?.max ?? 1];
    return { name: "All values", center: (min + max + 1) / 2, width: Math.max(max - min + 1, 1) };
  }

  setWindow(window: Window | null): void {
    this.chosen = window;
    this.applied();
  }

  invert(): void {
    this.isInverted = !this.isInverted;
    this.applied();
  }

  zoomBy(factor: number): void {
    this.viewport.setZoom(Math.min(Math.max(this.viewport.getZoom() * factor, 0.1), 40));
    this.applied();
  }

  panBy(x: number, y: number): void {
    const [atX, atY] = this.viewport.getPan();
    this.viewport.setPan([atX + x, atY + y]);
    this.applied();
  }

  /** Everything as it was when the series was opened. */
  reset(): void {
    this.chosen = null;
    this.isInverted = false;
    this.viewport.resetCamera();
    this.applied();
  }

  private applied(): void {
    const frame = this.frame;
    const info = loadedOf(this.ids[this.index] ?? "");
    if (!frame || !info) return;
    const window = this.window;
    if (window) {
      // Also with a rendered picture between, an instance that is darkest at its highest values is shown so.
      const isDarkHigh = text(frame.attributes, TAG.photometric) === "MONOCHROME1";
      this.viewport.setProperties({ voiRange: range(window, voiFunction(frame)), invert: isDarkHigh !== this.isInverted });
    } else this.viewport.setProperties({ voiRange: { lower: 0, upper: 255 }, invert: this.isInverted });
    this.viewport.render();
    const { index, isInverted } = this;
    this.told({ index, frame, window, zoom: this.viewport.getZoom(), isInverted, renderedBecause: info.renderedBecause });
  }

  /** Where the image lies on the canvas, and that it is there. */
  private placed(): void {
    const info = loadedOf(this.ids[this.index] ?? "");
    if (!info || this.element.dataset["state"] === "failed" || this.index !== this.wanted) return;
    const data = this.viewport.getImageData();
    if (!data) return;
    // With WebGL the origin is the middle of the first pixel, without it its corner.
    const half = core.getShouldUseCPURendering() ? 0 : 0.5;
    const corner = (column: number, row: number): string => {
      const [x, y] = [data.origin[0] + (column - half) * data.spacing[0], data.origin[1] + (row - half) * data.spacing[1]];
      return this.viewport.worldToCanvas([x, y, data.origin[2]]).map((value) => value.toFixed(2)).join(",");
    };
    this.element.dataset["corners"] = `${corner(0, 0)},${corner(info.columns, info.rows)}`;
    this.element.dataset["index"] = String(this.index);
    this.element.dataset["state"] = "shown";
  }

  private resized(): void {
    this.engine.resize(true, true);
  }

  /** Fetch beside what is shown: one ahead, one back, two ahead, and so on. */
  private ahead(): void {
    for (let distance = 1; distance <= AHEAD; distance++) {
      for (const near of [this.index + distance, this.index - distance]) {
        const id = this.ids[near];
        if (this.fetching >= AT_ONCE) return;
        if (id === undefined || core.cache.getImageLoadObject(id) || this.failedAhead.has(id)) continue;
        this.fetching++;
        load(id)
          // It is said when somebody looks at it.
          .catch(() => this.failedAhead.add(id))
          .finally(() => {
            this.fetching--;
            this.ahead();
          });
      }
    }
  }
}

/** From black to white (PS3.3 Section C.11.2.1.2.1; LINEAR_EXACT and SIGMOID in C.11.2.1.3). */
function range(window: Window, named: string): { lower: number; upper: number } {
  if (named !== "LINEAR") return { lower: window.center - window.width / 2, upper: window.center + window.width / 2 };
  const half = (Math.max(window.width, 1) - 1) / 2;
  return { lower: window.center - 0.5 - half, upper: Math.max(window.center - 0.5 + half, window.center - 0.5 - half + 1e-6) };
}
