/** The page: which address shows what. `#/` is the list, `#/{study}` a study, `#/{study}/{series}` one of its series. */

import { failure, fill } from "./dom";
import { studies } from "./studies";
import { study } from "./study";

const UID = /^[0-9.]{1,128}$/;
const place = document.getElementById("app")!;
let leaving = new AbortController();

function go(): void {
  leaving.abort();
  leaving = new AbortController();
  const parts = location.hash.replace(/^#?\/?/, "").split("/").filter(Boolean);
  if (parts.length > 2 || !parts.every((part) => UID.test(part))) fill(place, failure("There is nothing at this address."));
  else if (parts[0]) study(place, parts[0], parts[1], leaving.signal);
  else studies(place, leaving.signal);
}

addEventListener("hashchange", go);
go();
