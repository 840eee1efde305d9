/** Windows that are known by name. */

import { TAG, text } from "./dicomweb";
import { windows, type Frame, type Window } from "./frames";

const CT: Window[] = [
  { name: "Soft tissue", center: 40, width: 400 },
  { name: "Lung", center: -600, width: 1500 },
  { name: "Bone", center: 480, width: 2500 },
  { name: "Brain", center: 40, width: 80 },
  { name: "Liver", center: 90, width: 150 },
  { name: "Mediastinum", center: 50, width: 350 },
];

/** What may be chosen for a frame: its own windows, all its values, and for CT the usual ones. */
export function presets(frame: Frame, everything: Window): Window[] {
  const usual = text(frame.attributes, TAG.modality) === "CT" ? CT : [];
  return [...windows(frame), everything, ...usual];
}
