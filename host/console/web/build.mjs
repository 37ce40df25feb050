// Builds the console into `../dist`, with `--check` only compares: `npm run build`.
//
// Invariants:
// * The same sources and packages give the same bytes. No path, time or environment variable gets in.
// * Every file but `index.html` has a hash of its content in its name, so a browser may keep it.
// * The page holds no script and no style: both are files, as the content security policy wants.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "../dist");
const licences = join(here, "../THIRD-PARTY.txt");

/** Returns the built files by name. */
async function files() {
  const result = await build({
    absWorkingDir: here,
    entryPoints: { app: "src/main.tsx", style: "src/style/index.css" },
    entryNames: "[name]-[hash]",
    outdir: "out",
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    format: "esm",
    target: ["es2023"],
    charset: "utf8",
    // The texts of the licences are in a file of their own.
    legalComments: "none",
    logLevel: "warning",
  });
  refuseCycles(result.metafile.inputs);
  const all = new Map(result.outputFiles.map((file) => [file.path.replace(/^.*[\\/]/, ""), file.contents]));
  const named = (start) => [...all.keys()].find((name) => name.startsWith(start));
  const packages = thirdParty(Object.keys(result.metafile.inputs));
  const add = (name, text) => {
    const hash = createHash("sha256").update(text).digest("hex").slice(0, 8).toUpperCase();
    const full = name.replace(".", `-${hash}.`);
    all.set(full, Buffer.from(text));
    return full;
  };
  const icon = add("icon.svg", readFileSync(join(here, "src/icon.svg"), "utf8"));
  const texts = add("licences.txt", packages);
  const page = readFileSync(join(here, "src/index.html"), "utf8")
    .replace("APP", `/console/${named("app-")}`)
    .replace("STYLE", `/console/${named("style-")}`)
    .replace("ICON", `/console/${icon}`)
    .replace("LICENCES", `/console/${texts}`);
  all.set("index.html", Buffer.from(page));
  return { all, packages };
}

/** Fails if a source imports itself through others. */
function refuseCycles(inputs) {
  const done = new Set();
  const visit = (file, path) => {
    if (path.includes(file)) throw new Error(`sources import each other: ${[...path, file].join(" -> ")}`);
    if (done.has(file)) return;
    for (const { path: next } of inputs[file]?.imports ?? []) if (next.startsWith("src/")) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of Object.keys(inputs)) if (file.startsWith("src/")) visit(file, []);
}

/** Returns the packages that are bundled, with their licences. */
function thirdParty(inputs) {
  const names = new Set();
  for (const input of inputs) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) names.add(found[1]);
  }
  const rule = "-".repeat(80);
  const sections = [...names].sort().map((name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((file) => /^licen[cs]e(\.|$)/i.test(file));
    if (!file) throw new Error(`the package ${name} has no file with its licence`);
    const text = readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim();
    return `${rule}\n${name} ${version} (${license})\n${rule}\n\n${text}\n`;
  });
  return `The console contains these packages, each under its own licence.\n\n${sections.join("\n")}`;
}

const { all, packages } = await files();
if (process.argv.includes("--check")) {
  const committed = existsSync(dist) ? readdirSync(dist) : [];
  const differs = [
    ...committed.filter((name) => !all.has(name)).map((name) => `dist/${name} isn't built any more`),
    ...[...all].filter(([name, bytes]) => !same(join(dist, name), bytes)).map(([name]) => `dist/${name} differs`),
    ...(same(licences, Buffer.from(packages)) ? [] : ["THIRD-PARTY.txt differs"]),
  ];
  if (differs.length > 0) {
    console.error(`${differs.join("\n")}\n\nhint: run \`npm run build\` in host/console/web and commit host/console`);
    process.exit(1);
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist, { recursive: true });
  for (const [name, bytes] of all) writeFileSync(join(dist, name), bytes);
  writeFileSync(licences, packages);
  for (const [name, bytes] of [...all].sort()) console.log(`${String(bytes.length).padStart(8)}  ${name}`);
}

function same(path, bytes) {
  return existsSync(path) && Buffer.compare(readFileSync(path), Buffer.from(bytes)) === 0;
}
