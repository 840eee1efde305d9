/** Elements from words. Text goes in as text nodes only: nothing from a data set is ever read as markup. */

type Child = Node | string | null | undefined | false;
type Properties = Record<string, string | number | boolean | EventListener | undefined>;

/** An element: properties that begin with "on" are listeners, true and false set and leave out, the rest are attributes. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== undefined && value !== false) made.setAttribute(key, String(value));
  }
  for (const child of children) if (child) made.append(child);
  return made;
}

/** Put other children into an element. */
export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren(...children.filter((child): child is Node | string => Boolean(child)));
}

/** A button with a title that says what it does and which key does it too. */
export function button(label: string, title: string, press: () => void, properties: Properties = {}): HTMLButtonElement {
  return el("button", { type: "button", title, onclick: () => press(), ...properties }, label);
}

/** What went wrong, in words, where everybody sees it. */
export function failure(error: unknown): HTMLElement {
  const words = error instanceof Error ? error.message : String(error);
  return el("p", { class: "failure", role: "alert" }, words);
}
