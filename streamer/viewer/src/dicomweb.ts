/** The server's DICOMweb routes: requests, DICOM JSON (PS3.18 Annex F), and errors in words. */

export interface Element {
  vr: string;
  Value?: unknown[];
  InlineBinary?: string;
  BulkDataURI?: string;
}
export type Attributes = Record<string, Element | undefined>;

/** Where an instance is, by its three UIDs. */
export interface Place {
  study: string;
  series: string;
  instance: string;
}

export const TAG = {
  sopClass: "00080016",
  sopInstance: "00080018",
  studyDate: "00080020",
  accession: "00080050",
  modality: "00080060",
  modalitiesInStudy: "00080061",
  studyDescription: "00081030",
  seriesDescription: "0008103E",
  transferSyntax: "00083002",
  patientName: "00100010",
  patientId: "00100020",
  frameTime: "00181063",
  cineRate: "00180040",
  imagerSpacing: "00181164",
  study: "0020000D",
  series: "0020000E",
  seriesNumber: "00200011",
  instanceNumber: "00200013",
  seriesOfStudy: "00201206",
  instancesOfStudy: "00201208",
  instancesOfSeries: "00201209",
  samples: "00280002",
  photometric: "00280004",
  planar: "00280006",
  frames: "00280008",
  rows: "00280010",
  columns: "00280011",
  spacing: "00280030",
  aspect: "00280034",
  bitsAllocated: "00280100",
  bitsStored: "00280101",
  pixelRepresentation: "00280103",
  padding: "00280120",
  center: "00281050",
  width: "00281051",
  intercept: "00281052",
  slope: "00281053",
  windowExplanation: "00281055",
  voiFunction: "00281056",
  lutDescriptor: "00283002",
  modalityLut: "00283000",
  lutData: "00283006",
  measures: "00289110",
  frameVoi: "00289132",
  transformation: "00289145",
  shared: "52009229",
  perFrame: "52009230",
} as const;

/** The first value as text; a person's name as it is written for people. */
export function text(attributes: Attributes, tag: string): string {
  const value = attributes[tag]?.Value?.[0];
  if (value === undefined || value === null) return "";
  if (typeof value === "object") {
    const name = (value as Record<string, string | undefined>)["Alphabetic"] ?? "";
    return name.split("^").filter(Boolean).join(" ");
  }
  return String(value);
}

/** All values that are numbers. */
export function numbers(attributes: Attributes, tag: string): number[] {
  const values = attributes[tag]?.Value ?? [];
  return values.filter((value) => value !== null && value !== "").map(Number).filter(Number.isFinite);
}

/** The first value as a number. */
export function number(attributes: Attributes, tag: string): number | undefined {
  return numbers(attributes, tag)[0];
}

/** The first item of a sequence. */
export function item(attributes: Attributes | undefined, tag: string): Attributes | undefined {
  return attributes?.[tag]?.Value?.[0] as Attributes | undefined;
}

/** A date as people write it; what is no date stays as it is. */
export function date(value: string): string {
  return /^\d{8}$/.test(value) ? `${value.slice(0, 4)}-${value.slice(4, 6)}-${value.slice(6)}` : value;
}

export const seriesPath = (study: string, series: string): string => `/studies/${study}/series/${series}`;
export const instancePath = (at: Place): string => `${seriesPath(at.study, at.series)}/instances/${at.instance}`;

const WORDS: Record<number, string> = {
  401: "The server asks who you are: log in, or give the token, and try again.",
  403: "You may not see this.",
  404: "It is not in the archive.",
  406: "The server has it, but in no form that this viewer takes.",
  429: "Too many requests: wait a moment and try again.",
  503: "The server cannot answer just now: try again in some seconds.",
};

/** A request that was not answered with success. */
export class RequestFailed extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

/** GET from this server. Throws RequestFailed with words for a person. */
export async function get(path: string, accept: string, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    // By this page's origin: a page that was opened with a name and a password in its address may ask for no relative one.
    response = await fetch(new URL(path, location.origin), { headers: { Accept: accept }, credentials: "same-origin", signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new RequestFailed("The server does not answer. Is it running, and is the network there?", 0);
  }
  if (response.ok) return response;
  const words = WORDS[response.status] ?? `The server answered ${response.status}.`;
  throw new RequestFailed(`${words} ${await said(response)}`.trim(), response.status);
}

/** What the server itself says of a failure: a problem document or its older form. */
async function said(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as Record<string, unknown>;
    const words = body["detail"] ?? body["error"];
    return typeof words === "string" ? `(${words})` : "";
  } catch {
    return "";
  }
}

/** Attributes as DICOM JSON; an empty answer is an empty list. */
export async function getAttributes(path: string, signal?: AbortSignal): Promise<Attributes[]> {
  const response = await get(path, "application/dicom+json", signal);
  if (response.status === 204) return [];
  return (await response.json()) as Attributes[];
}

/** Bytes of a binary value, wherever they are; null when the metadata does not hold them. */
export async function binary(element: Element | undefined): Promise<Uint8Array | null> {
  if (element?.InlineBinary !== undefined) {
    return Uint8Array.from(atob(element.InlineBinary), (character) => character.charCodeAt(0));
  }
  if (element?.BulkDataURI === undefined) return null;
  const url = new URL(element.BulkDataURI, location.origin);
  // The server is asked for it under the name that this page has, whatever a proxy made of the host in the URI.
  const path = url.pathname + url.search;
  const response = await get(path, 'application/octet-stream, multipart/related; type="application/octet-stream"');
  return onlyPart(response.headers.get("Content-Type") ?? "", new Uint8Array(await response.arrayBuffer())).body;
}

/** The content of an answer of one part, multipart or bare, with its own content type. */
export function onlyPart(contentType: string, bytes: Uint8Array): { contentType: string; body: Uint8Array } {
  if (!/^multipart\//i.test(contentType)) return { contentType, body: bytes };
  const boundary = /boundary="?([^";]+)"?/i.exec(contentType)?.[1] ?? "";
  const headEnd = find(bytes, "\r\n\r\n", 0);
  const end = findLast(bytes, `\r\n--${boundary}`);
  if (!boundary || headEnd < 0 || end < headEnd) throw new Error("The server's answer ended too early.");
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, headEnd));
  const inner = /^content-type:\s*(.+)$/im.exec(head)?.[1] ?? "application/octet-stream";
  return { contentType: inner.trim(), body: bytes.subarray(headEnd + 4, end) };
}

function matches(bytes: Uint8Array, wanted: string, at: number): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted.charCodeAt(i)) return false;
  return true;
}

function find(bytes: Uint8Array, wanted: string, from: number): number {
  for (let at = from; at <= Math.min(bytes.length - wanted.length, from + 4096); at++) if (matches(bytes, wanted, at)) return at;
  return -1;
}

function findLast(bytes: Uint8Array, wanted: string): number {
  for (let at = bytes.length - wanted.length; at >= Math.max(0, bytes.length - 4096); at--) if (matches(bytes, wanted, at)) return at;
  return -1;
}
