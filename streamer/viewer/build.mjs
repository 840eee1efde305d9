// Builds src/ into dist/: esbuild, one plug-in for the codecs' WebAssembly, and a manifest. `make viewer` calls it.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const require = createRequire(join(here, "src", "x.js"));
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** `new URL("@cornerstonejs/codec-…", import.meta.url)`: a file beside the script, by its digest. */
const codecs = {
  name: "codecs",
  setup(build) {
    build.onLoad({ filter: /dicom-image-loader.*decoders.*\.js$/ }, (found) => {
      const from = createRequire(found.path);
      const contents = readFileSync(found.path, "utf8").replace(
        /new URL\('(@cornerstonejs\/codec-[^']+)', import\.meta\.url\)/g,
        (_, name) => `new URL(${JSON.stringify(copied(from.resolve(name)))}, import.meta.url)`,
      );
      return { contents, loader: "js" };
    });
  },
};

/** VTK.js brings writers of XML files, which nothing here calls, and they bring half of node. */
const nothing = {
  name: "nothing",
  setup(build) {
    build.onResolve({ filter: /^xmlbuilder2$/ }, () => ({ path: "xmlbuilder2", namespace: "nothing" }));
    build.onLoad({ filter: /.*/, namespace: "nothing" }, () => ({ contents: "export const create = () => { throw new Error('no XML here'); };" }));
  },
};

function copied(path) {
  const bytes = readFileSync(path);
  const name = basename(path).replace(".wasm", `-${sha256(bytes).slice(0, 8)}.wasm`);
  writeFileSync(join(dist, name), bytes);
  return `./${name}`;
}

const shared = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  metafile: true,
  outdir: "dist",
  entryNames: "[name]-[hash]",
  logLevel: "warning",
  external: ["fs", "path", "crypto", "module", "url"],
  plugins: [codecs, nothing],
};

function entry(result, source) {
  const found = Object.entries(result.metafile.outputs).find(([, output]) => output.entryPoint === source);
  return basename(found[0]);
}

/** Every package in the bundles, with its licence: what those licences ask for. */
function notices(...results) {
  const names = new Set();
  for (const result of results) {
    for (const input of Object.keys(result.metafile.inputs)) {
      const found = /node_modules\/((?:@[^/]+\/)?[^/]+)(?!.*node_modules)/.exec(input);
      if (found) names.add(input.slice(0, found.index) + found[0]);
    }
  }
  const texts = [...names].sort().map((folder) => {
    const about = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
    const file = readdirSync(join(here, folder)).find((name) => /^licen[sc]e/i.test(name));
    const licence = file ? readFileSync(join(here, folder, file), "utf8").trim() : `Licence: ${about.license}`;
    return `${about.name} ${about.version}\n\n${licence}\n`;
  });
  return texts.join("\n" + "-".repeat(78) + "\n\n").replace(/\r/g, "").replace(/[ \t]+$/gm, "");
}

function sources(folder = "src") {
  return readdirSync(join(here, folder), { withFileTypes: true }).flatMap((found) =>
    found.isDirectory() ? sources(`${folder}/${found.name}`) : [`${folder}/${found.name}`],
  );
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
const worker = await esbuild.build({ ...shared, entryPoints: ["src/worker.ts"] });
const define = { WORKER: JSON.stringify(entry(worker, "src/worker.ts")) };
const page = await esbuild.build({ ...shared, entryPoints: ["src/main.ts", "src/style.css"], define });
const html = readFileSync(join(here, "src/index.html"), "utf8")
  .replace("SCRIPT", `/viewer/${entry(page, "src/main.ts")}`)
  .replace("STYLE", `/viewer/${entry(page, "src/style.css")}`);
writeFileSync(join(dist, "index.html"), html);
writeFileSync(join(dist, "licences.txt"), notices(worker, page));

const digest = createHash("sha256");
for (const path of [...sources(), "build.mjs", "package.json", "package-lock.json"].sort()) {
  digest.update(path).update("\0").update(readFileSync(join(here, path))).update("\0");
}
const files = Object.fromEntries(
  readdirSync(dist).sort().map((name) => {
    const bytes = readFileSync(join(dist, name));
    return [name, { bytes: bytes.length, sha256: sha256(bytes) }];
  }),
);
const manifest = { sources: digest.digest("hex"), worker: entry(worker, "src/worker.ts"), files };
writeFileSync(join(dist, "manifest.json"), JSON.stringify(manifest, null, 1) + "\n");
const total = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
console.log(`${Object.keys(files).length} files, ${(total / 1e6).toFixed(1)} MB`);
