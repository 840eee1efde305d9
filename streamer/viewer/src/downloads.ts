/** What can be taken home: the instance, its series, its study. */

import { el } from "./dom";
import { get, instancePath, seriesPath, type Attributes } from "./dicomweb";
import { placeOf } from "./frames";

/** A menu of them. `current` is what is shown when one is chosen; `failed` is told what went wrong. */
export function downloads(current: () => Attributes | undefined, failed: (error: unknown) => void): HTMLElement {
  const menu: HTMLSelectElement = el(
    "select",
    { title: "Download", "aria-label": "Download" },
    el("option", { value: "" }, "Download"),
    el("option", { value: "instance" }, "This instance (DICOM)"),
    el("option", { value: "series" }, "This series (ZIP)"),
    el("option", { value: "study" }, "This study (ZIP)"),
  );
  menu.addEventListener("change", () => {
    const what = menu.value;
    menu.value = "";
    download(what, current()).catch(failed);
  });
  return menu;
}

async function download(what: string, attributes: Attributes | undefined): Promise<void> {
  if (!attributes || !what) return;
  const at = placeOf(attributes);
  const isOne = what === "instance";
  const path = isOne ? instancePath(at) : what === "series" ? seriesPath(at.study, at.series) : `/studies/${at.study}`;
  const response = await get(path, isOne ? "application/dicom" : "application/zip");
  const url = URL.createObjectURL(await response.blob());
  // Its UID and nothing of the patient is in the file's name.
  const name = isOne ? `${at.instance}.dcm` : `${what === "series" ? at.series : at.study}.zip`;
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
