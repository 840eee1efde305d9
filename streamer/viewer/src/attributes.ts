/** The metadata of an instance as a table that can be searched. */

import { button, el, fill } from "./dom";
import { get, type Attributes, type Element } from "./dicomweb";

interface Line {
  depth: number;
  tag: string;
  name: string;
  vr: string;
  value: string;
}

/** Names of the standard's attributes by tag; the server has them from its dictionary. */
let names: Record<string, string> = {};

async function learnNames(): Promise<void> {
  if (!Object.keys(names).length) names = (await (await get("/viewer/names.json", "application/json")).json()) as Record<string, string>;
}

const LONGEST = 2000;
const MOST_LINES = 5000;

/** Lines of a data set, sequences with their items below them. */
export function lines(attributes: Attributes, depth = 0): Line[] {
  return Object.keys(attributes)
    .sort()
    .flatMap((tag) => {
      const element = attributes[tag]!;
      const items = element.vr === "SQ" ? ((element.Value ?? []) as Attributes[]) : [];
      const value = element.vr === "SQ" ? `${items.length} ${items.length === 1 ? "item" : "items"}` : shown(element);
      const line = { depth, tag: `(${tag.slice(0, 4)},${tag.slice(4)})`, name: names[tag] ?? "", vr: element.vr, value };
      return [line, ...items.flatMap((each) => lines(each ?? {}, depth + 1))];
    });
}

function shown(element: Element): string {
  if (element.InlineBinary !== undefined) return `${Math.floor((element.InlineBinary.length * 3) / 4)} bytes`;
  if (element.BulkDataURI !== undefined) return "kept apart";
  const words = (element.Value ?? []).map((value) => {
    if (value === null || value === undefined) return "";
    if (typeof value !== "object") return String(value);
    return Object.values(value as Record<string, string>).filter(Boolean).join("=");
  });
  const all = words.join("\\");
  return all.length > LONGEST ? `${all.slice(0, LONGEST)}…` : all;
}

/** Show the table over the page. */
export async function showAttributes(attributes: Attributes, title: string): Promise<void> {
  // Without names the table still has tags and values.
  await learnNames().catch(() => undefined);
  const all = lines(attributes);
  const body = el("tbody");
  const count = el("span", { class: "hint" });
  const filter = (wanted: string): void => {
    const words = wanted.toLowerCase();
    const found = all.filter((line) => `${line.tag} ${line.name} ${line.value}`.toLowerCase().includes(words));
    const few = found.slice(0, MOST_LINES);
    fill(
      body,
      ...few.map((line) =>
        el(
          "tr",
          {},
          el("td", { class: `depth${Math.min(line.depth, 6)}` }, el("code", {}, line.tag)),
          el("td", {}, line.name),
          el("td", {}, line.vr),
          el("td", {}, line.value),
        ),
      ),
    );
    count.textContent = few.length < found.length ? `the first ${few.length} of ${found.length} attributes` : `${found.length} ${found.length === 1 ? "attribute" : "attributes"}`;
  };
  const input = el("input", { type: "search", placeholder: "tag, name or value", "aria-label": "Search in the attributes", autocomplete: "off" });
  input.addEventListener("input", () => filter(input.value.trim()));
  const dialog = el(
    "dialog",
    { class: "attributes", onclose: () => dialog.remove() },
    el("header", { class: "bar" }, el("h2", {}, title), input, count, el("span", { class: "grow" }), button("Close", "Close (Escape)", () => dialog.close())),
    el("div", { class: "scroll" }, el("table", {}, body)),
  );
  filter("");
  document.body.append(dialog);
  dialog.showModal();
}
