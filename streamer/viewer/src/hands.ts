/** Mouse, wheel, touch and keys over the image. */

import type { Cine } from "./cine";
import type { Stack } from "./stack";

/** What dragging with the first button does. */
export type Tool = "window" | "pan" | "zoom" | "scroll";

const PIXELS_A_FRAME = 8;

export interface Hands {
  tool: Tool;
}

/** Let a person handle a stack. The second button always zooms, the third always pans. */
export function handle(element: HTMLElement, stack: Stack, cine: Cine): Hands {
  const hands: Hands = { tool: "window" };
  const touches = new Map<number, { x: number; y: number }>();
  let rest = 0;

  const scroll = (by: number): void => {
    const to = Math.min(Math.max(stack.current + by, 0), stack.length - 1);
    if (to !== stack.current) void stack.show(to);
  };

  const drag = (tool: Tool, x: number, y: number): void => {
    if (tool === "pan") stack.panBy(x, y);
    else if (tool === "zoom") stack.zoomBy(Math.exp(-y / 200));
    else if (tool === "window") level(stack, x, y);
    else {
      rest += y;
      const frames = Math.trunc(rest / PIXELS_A_FRAME);
      rest -= frames * PIXELS_A_FRAME;
      if (frames) scroll(frames);
    }
  };

  element.addEventListener("pointerdown", (event) => {
    cine.stop();
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
    rest = 0;
  });
  element.addEventListener("pointermove", (event) => {
    const before = touches.get(event.pointerId);
    if (!before) return;
    const other = [...touches].find(([id]) => id !== event.pointerId)?.[1];
    const [x, y] = [event.clientX - before.x, event.clientY - before.y];
    if (other) {
      // Two fingers: their distance is the zoom, the way of each is half the pan.
      const distance = (point: { x: number; y: number }): number => Math.max(Math.hypot(point.x - other.x, point.y - other.y), 1);
      stack.zoomBy(distance({ x: event.clientX, y: event.clientY }) / distance(before));
      stack.panBy(x / 2, y / 2);
    } else drag(event.buttons & 2 ? "zoom" : event.buttons & 4 ? "pan" : hands.tool, x, y);
    touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  for (const name of ["pointerup", "pointercancel"] as const) {
    element.addEventListener(name, (event) => touches.delete(event.pointerId));
  }
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      cine.stop();
      if (event.ctrlKey) stack.zoomBy(Math.exp(-event.deltaY / 300));
      else scroll(Math.sign(event.deltaY));
    },
    { passive: false },
  );
  return hands;
}

/** Right is a wider window, down a darker image; a hundredth of the width for each pixel. */
function level(stack: Stack, x: number, y: number): void {
  const window = stack.window;
  if (!window) return;
  const step = Math.max(window.width / 100, stack.everything().width / 2000);
  const width = Math.max(window.width + x * step, stack.everything().width / 5000);
  stack.setWindow({ name: "By hand", center: window.center + y * step, width });
}

/** Keys, wherever nothing is typed. Returns what takes them away again. */
export function keys(table: Record<string, () => void>): () => void {
  const pressed = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea, dialog[open] *")) return;
    if (event.key === " " && target.matches("button, a")) return;
    const act = table[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  document.addEventListener("keydown", pressed);
  return () => document.removeEventListener("keydown", pressed);
}
