/** Which keys there are. */

import { button, el } from "./dom";

const KEYS = [
  ["↑ ↓ ← →", "the image before, the next"],
  ["Page Up, Page Down", "ten images"],
  ["Home, End", "the first, the last"],
  ["Space", "play and stop"],
  ["1 … 9", "a window of the list"],
  ["I", "light and dark changed"],
  ["+ and −", "larger, smaller"],
  ["R", "everything as at first"],
  ["W P Z S", "drag for window, pan, zoom, scroll"],
  ["M", "metadata"],
  ["Escape", "back to the studies"],
  ["Wheel", "the next image; with Ctrl zoom"],
  ["Second and third button", "zoom, pan"],
];

/** Show them over the page. */
export function help(): void {
  const dialog = el(
    "dialog",
    { class: "help", onclose: () => dialog.remove() },
    el("h2", {}, "Keys"),
    el("table", {}, el("tbody", {}, ...KEYS.map(([key, does]) => el("tr", {}, el("th", { scope: "row" }, key!), el("td", {}, does!))))),
    el("p", { class: "hint" }, "Not for diagnosis."),
    button("Close", "Close (Escape)", () => dialog.close()),
  );
  document.body.append(dialog);
  dialog.showModal();
}
