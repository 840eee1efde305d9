/** The list of studies, and the search in it. What is typed is in no address of the page. */

import { button, el, failure, fill } from "./dom";
import { date, getAttributes, TAG, text, type Attributes } from "./dicomweb";

const PAGE = 50;

interface Wanted {
  name: string;
  id: string;
  from: string;
  to: string;
  modality: string;
  accession: string;
  description: string;
}

const NOTHING: Wanted = { name: "", id: "", from: "", to: "", modality: "", accession: "", description: "" };
let wanted: Wanted = NOTHING;
let offset = 0;
/** How many searches were begun: what is told by one that is not the last is of no use any more. */
let begun = 0;

/** Parameters of the search (PS3.18 Section 8.3.4). Text is found wherever it stands; letters of either case. */
export function parameters(what: Wanted, from: number): URLSearchParams {
  const found = new URLSearchParams();
  const anywhere = (words: string): string => (/[*?]/.test(words) ? words : `*${words}*`);
  // Words in their order; a comma stands between family name and given name.
  if (what.name) found.set("PatientName", anywhere(what.name).replace(/\s*,\s*/, "*^").replaceAll(" ", "*"));
  if (what.id) found.set("PatientID", anywhere(what.id));
  if (what.description) found.set("StudyDescription", anywhere(what.description));
  if (what.accession) found.set("AccessionNumber", anywhere(what.accession));
  if (what.modality) found.set("ModalitiesInStudy", what.modality.toUpperCase().split(/[\s,;\\]+/).filter(Boolean).join("\\"));
  const days = [what.from, what.to].map((day) => day.replaceAll("-", ""));
  if (days[0] || days[1]) found.set("StudyDate", `${days[0]}-${days[1]}`);
  // One more than is shown tells whether there is another page.
  found.set("limit", String(PAGE + 1));
  found.set("offset", String(from));
  found.set("includefield", "StudyDescription");
  found.set("orderby", "-StudyDate,-StudyTime");
  return found;
}

/** Show the list in an element. */
export function studies(place: HTMLElement, signal: AbortSignal): void {
  const list = el("div", { class: "list", "aria-live": "polite" });
  const form = search((what) => {
    wanted = what;
    offset = 0;
    void show(list, signal);
  });
  fill(place, el("header", { class: "bar" }, el("h1", {}, "dicomrelay"), el("span", { class: "grow" }), el("a", { href: "/plain" }, "URLs")), form, list);
  void show(list, signal);
}

function search(go: (what: Wanted) => void): HTMLElement {
  const input = (name: keyof Wanted, label: string, properties: Record<string, string>): HTMLElement =>
    el("label", {}, label, el("input", { name, value: wanted[name], autocomplete: "off", spellcheck: "false", ...properties }));
  const form: HTMLFormElement = el(
    "form",
    {
      class: "search",
      role: "search",
      onsubmit: (event: Event) => {
        event.preventDefault();
        const said = new FormData(form);
        go(Object.fromEntries(Object.keys(NOTHING).map((name) => [name, String(said.get(name) ?? "").trim()])) as unknown as Wanted);
      },
    },
    input("name", "Patient", { type: "search", placeholder: "name, * and ? match" }),
    input("id", "Patient ID", { type: "search" }),
    input("from", "From", { type: "date" }),
    input("to", "To", { type: "date" }),
    input("modality", "Modality", { type: "search", size: "6", placeholder: "CT, MR" }),
    input("accession", "Accession", { type: "search", size: "10" }),
    input("description", "Description", { type: "search" }),
    el("button", { type: "submit", class: "main" }, "Search"),
    button("Clear", "Search for everything", () => {
      for (const field of form.querySelectorAll("input")) field.value = "";
      go(NOTHING);
    }),
  );
  return form;
}

async function show(list: HTMLElement, signal: AbortSignal): Promise<void> {
  const number = ++begun;
  list.dataset["state"] = "loading";
  let rows: Attributes[];
  try {
    rows = await getAttributes(`/studies?${parameters(wanted, offset)}`, signal);
  } catch (error) {
    if (signal.aborted || number !== begun) return;
    fill(list, failure(error), button("Try again", "Ask the server again", () => void show(list, signal)));
    list.dataset["state"] = "failed";
    return;
  }
  if (number !== begun) return;
  const shown = rows.slice(0, PAGE);
  const turn = (by: number) => () => {
    offset = Math.max(0, offset + by);
    void show(list, signal);
  };
  const none = offset || wanted !== NOTHING ? "No study matches." : "The archive is empty. Send something to it, and search again.";
  fill(
    list,
    shown.length ? table(shown) : el("p", { class: "hint" }, none),
    el(
      "nav",
      { class: "pages" },
      offset > 0 && button("‹ Newer", "The page before", turn(-PAGE)),
      shown.length > 0 && el("span", {}, `${offset + 1} to ${offset + shown.length}`),
      rows.length > PAGE && button("Older ›", "The next page", turn(PAGE)),
    ),
  );
  list.dataset["state"] = "shown";
}

function table(rows: Attributes[]): HTMLElement {
  const heads = ["Patient", "Patient ID", "Date", "Accession", "Modalities", "Description", "Series", "Instances"];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map(row)),
  );
}

function row(study: Attributes): HTMLElement {
  const address = `#/${text(study, TAG.study)}`;
  const modalities = (study[TAG.modalitiesInStudy]?.Value ?? []).join(", ");
  const cells = [
    text(study, TAG.patientId),
    date(text(study, TAG.studyDate)),
    text(study, TAG.accession),
    modalities,
    text(study, TAG.studyDescription),
    text(study, TAG.seriesOfStudy),
    text(study, TAG.instancesOfStudy),
  ];
  return el(
    "tr",
    { onclick: () => (location.hash = address) },
    el("td", {}, el("a", { href: address }, text(study, TAG.patientName) || "(no name)")),
    ...cells.map((cell) => el("td", {}, cell)),
  );
}
