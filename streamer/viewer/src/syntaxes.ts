/** Transfer syntaxes by the names that people use. */

const NAMES: Record<string, string> = {
  "1.2.840.10008.1.2": "Implicit little endian",
  "1.2.840.10008.1.2.1": "Explicit little endian",
  "1.2.840.10008.1.2.1.99": "Deflated",
  "1.2.840.10008.1.2.2": "Explicit big endian",
  "1.2.840.10008.1.2.4.50": "JPEG baseline",
  "1.2.840.10008.1.2.4.51": "JPEG extended",
  "1.2.840.10008.1.2.4.57": "JPEG lossless",
  "1.2.840.10008.1.2.4.70": "JPEG lossless SV1",
  "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
  "1.2.840.10008.1.2.4.81": "JPEG-LS near lossless",
  "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
  "1.2.840.10008.1.2.4.91": "JPEG 2000",
  "1.2.840.10008.1.2.4.110": "JPEG XL lossless",
  "1.2.840.10008.1.2.4.111": "JPEG XL from JPEG",
  "1.2.840.10008.1.2.4.112": "JPEG XL",
  "1.2.840.10008.1.2.4.201": "HTJ2K lossless",
  "1.2.840.10008.1.2.4.202": "HTJ2K lossless RPCL",
  "1.2.840.10008.1.2.4.203": "HTJ2K",
  "1.2.840.10008.1.2.5": "RLE lossless",
};

/** Its name, or its UID where it has none here. */
export const syntaxName = (uid: string): string => NAMES[uid] ?? uid;
