// Every view: for readers with a disability, in light and dark, on a desktop and a phone; and with
// thousands of functions.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";

import { Console, launch } from "./browser.mjs";
import { Nebula, functionFile, guestFile, root } from "./nebula.mjs";

let [nebula, browser] = [];

before(async () => {
  nebula = await Nebula.start();
  for (const name of ["add", "csv-stats", "stats-markdown", "markdown", "hello-http"]) {
    await nebula.deploy(name, functionFile(name));
  }
  await nebula.deploy("mirrors", guestFile("mirrors"));
  await nebula.deploy("panics", guestFile("panics"));
  await nebula.deploy("prints-input", guestFile("prints_input"));
  await nebula.deploy("versions", functionFile("add"));
  await nebula.deploy("versions", functionFile("markdown"));
  await nebula.deployPipeline("csv-report", { steps: ["csv-stats", "stats-markdown", "markdown"] });
  await nebula.call("panics", "1");
  await nebula.call("prints-input", "a line of text", "text/plain");
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await nebula?.stop();
});

const VIEWS = {
  overview: "#/",
  functions: "#/functions",
  pipelines: "#/pipelines",
  logs: "#/logs",
  failures: "#/failures",
  cache: "#/cache",
  tokens: "#/tokens",
  "not-found": "#/nowhere",
  call: "#/functions/mirrors",
  "call-http": "#/functions/hello-http",
  stats: "#/functions/add/stats",
  "function-log": "#/functions/panics/log",
  versions: "#/functions/versions/versions",
  about: "#/functions/csv-stats/about",
  steps: "#/functions/csv-report/steps",
};

for (const scheme of ["light", "dark"]) {
  for (const [size, width, height] of [["desktop", 1280, 860], ["phone", 360, 740]]) {
    test(`every view can be used, ${scheme}, ${size}`, async () => {
      const it = await Console.open(browser, nebula, { width, height, scheme });
      it.expect(401, "/api/v1/session");
      await it.page.getByLabel("Token").waitFor();
      await it.isAccessible("the sign-in");
      await it.shot(`sign-in-${size}-${scheme}`);
      await it.signIn();
      for (let a = 0; a < 40; a += 1) await nebula.call("add", JSON.stringify({ a, b: width }));
      for (const [name, hash] of Object.entries(VIEWS)) {
        await it.go(hash);
        await it.page.waitForFunction(() => !document.body.textContent.includes("Loading…"));
        // The overview draws its charts from two samples on.
        await it.page.waitForTimeout(name === "overview" || name === "stats" ? 4500 : 400);
        await it.isAccessible(`${name} ${scheme} ${size}`);
        await it.shot(`${name}-${size}-${scheme}`);
        await fits(it, name);
      }
      for (const [name, fill] of Object.entries(FILLED)) {
        await fill(it);
        await it.isAccessible(`${name} ${scheme} ${size}`);
        await it.shot(`${name}-${size}-${scheme}`);
        await fits(it, name);
      }
      if (size === "desktop") await hasCharts(it);
      if (size === "phone") {
        await it.page.getByRole("button", { name: "Menu" }).click();
        await it.page.getByRole("link", { name: "Pipelines" }).waitFor();
        await it.isAccessible(`the menu ${scheme}`);
        await it.shot(`menu-${size}-${scheme}`);
      }
      await it.close();
    });
  }
}

async function fits(it, name) {
  const overflow = await it.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow} pixels wider than the screen`);
}

/** Views that show something only after the user has done something. */
const FILLED = {
  answer: async (it) => {
    await it.go("#/functions/csv-stats");
    await it.page.getByLabel("csv", { exact: true }).fill("a,b\n1,2\n3,4");
    await it.page.getByRole("button", { name: "Call", exact: true }).click();
    await it.page.getByText("200 OK").waitFor();
  },
  trap: async (it) => {
    it.expect(502, "/api/v1/functions/panics/call");
    await it.go("#/functions/panics");
    await it.page.getByLabel("depth", { exact: true }).fill("3");
    await it.page.getByRole("button", { name: "Call", exact: true }).click();
    await it.page.getByText("502 trap").waitFor();
  },
  refusal: async (it) => {
    it.expect(400, "/api/v1/functions/add/call");
    await it.go("#/functions/add");
    await it.page.getByLabel("a", { exact: true }).fill("one");
    await it.page.getByRole("button", { name: "Call", exact: true }).click();
    await it.page.getByText("400 type-mismatch").waitFor();
  },
  run: async (it) => {
    await it.go("#/functions/csv-report/steps");
    await it.page.getByLabel("csv", { exact: true }).fill("a,b\n1,2\n3,4");
    await it.page.getByRole("button", { name: "Run step by step" }).click();
    await it.page.getByText(/^Step 1 of/).waitFor();
  },
  "backtrace-of-failure": async (it) => {
    await it.go("#/failures");
    await it.page.getByText("Backtrace", { exact: true }).first().click();
  },
  "dialog-remove": async (it) => {
    await it.go("#/functions/csv-stats/versions");
    await it.page.getByRole("button", { name: "Remove csv-stats…" }).click();
    await it.page.getByLabel("Remove this pipeline too").check();
  },
  "dialog-deploy": async (it) => {
    await it.page.getByRole("button", { name: "Cancel" }).click();
    await it.drop(functionFile("add"));
    await it.page.getByText("Replaces v1").waitFor();
  },
  "dialog-token": async (it) => {
    await it.page.getByRole("button", { name: "Cancel" }).click();
    await it.go("#/tokens");
    await it.page.getByRole("button", { name: "Create a token…" }).click();
    await it.page.getByRole("dialog").waitFor();
  },
  "no-dialog": async (it) => {
    await it.page.keyboard.press("Escape");
    await it.page.getByRole("dialog").waitFor({ state: "detached" });
  },
};

/** Fails unless the charts of the overview have drawn something. */
async function hasCharts(it) {
  await it.go("#/");
  await it.page.waitForTimeout(2500);
  const drawn = await it.page.evaluate(() =>
    [...document.querySelectorAll(".chart canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value) => value > 0);
    }),
  );
  assert.deepEqual(drawn, Array(6).fill(true));
}

test("the chart of an experiment is shown where the server has one", async () => {
  const other = await Nebula.start("--experiment", root("docs/experiment"));
  try {
    const it = await (await Console.open(browser, other)).signIn();
    const chart = it.page.getByRole("img", { name: "The time from a request to the answer" });
    await chart.waitFor();
    await it.page.waitForFunction(() => document.querySelector(".experiment")?.naturalWidth > 100);
    await it.isAccessible("an experiment");
    await it.shot("experiment");
    await it.close();
  } finally {
    await other.stop();
  }
});

test("cached results are cleared", async () => {
  await nebula.call("add", '{"a":1,"b":2}');
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  const entries = async () => (await nebula.send("GET", "/api/v1/cache")).functions.reduce((sum, it) => sum + it.entries, 0);
  assert.ok((await entries()) > 0);
  await it.go("#/cache");
  await page.getByRole("button", { name: "Clear all…" }).click();
  await it.isAccessible("the question before clearing");
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await page.getByText("Cleared all cached results.").waitFor();
  assert.equal(await entries(), 0);
  await it.close();
});

test("the colours follow the system, or the user's choice", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const background = () => it.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await it.page.getByLabel("Colours").selectOption("dark");
  const dark = await background();
  assert.notEqual(dark, light);
  await it.page.reload();
  await it.page.getByRole("heading", { name: "Overview" }).waitFor();
  assert.equal(await background(), dark);
  await it.page.getByLabel("Colours").selectOption("system");
  assert.equal(await background(), light);
  await it.page.emulateMedia({ colorScheme: "dark" });
  assert.equal(await background(), dark);
  await it.close();
});

test("5,000 functions are searched and sorted without waiting", async () => {
  const { current } = await nebula.send("GET", "/api/v1/functions/add");
  const version = { digest: current.digest, size_bytes: current.size_bytes, deployed_at_unix_s: current.deployed_at_unix_s, limits: {}, cache: {} };
  const names = Array.from({ length: 5000 }, (_, at) => `generated-${String(at).padStart(4, "0")}`);
  const functions = Object.fromEntries(names.map((name) => [name, { current: "v1", versions: { v1: version } }]));
  await nebula.send("POST", "/api/v1/import", JSON.stringify({ functions }), { "content-type": "application/json" });

  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  await it.go("#/functions");
  await page.getByText("1–50 of 5,0", { exact: false }).waitFor();
  assert.ok((await page.getByRole("row").count()) <= 51);
  await it.isAccessible("5,000 functions");
  await it.shot("many");
  const started = performance.now();
  await page.getByLabel("Search functions").fill("generated-4321");
  await page.getByText("1 of 5,0", { exact: false }).waitFor();
  const tookMs = performance.now() - started;
  assert.ok(tookMs < 5000, `a search takes ${tookMs} ms`);
  await page.getByRole("link", { name: "generated-4321" }).waitFor();
  await page.getByLabel("Search functions").fill("");
  await page.getByRole("button", { name: "Next →" }).click();
  await page.getByText("51–100 of", { exact: false }).waitFor();
  await page.getByRole("button", { name: "Calls" }).click();
  await page.getByText("1–50 of", { exact: false }).waitFor();
  const first = await page.getByRole("rowheader").first().innerText();
  assert.match(first, /^add/);
  await it.close();
});

test("the page is small, and has no script or style in it", () => {
  const dist = new URL("../../../dist/", import.meta.url);
  const files = readdirSync(dist).map((name) => [name, readFileSync(new URL(name, dist))]);
  const bytes = files.reduce((sum, [, content]) => sum + gzipSync(content, { level: 9 }).length, 0);
  assert.ok(bytes < 120 * 1024, `${bytes} bytes compressed`);
  const page = files.find(([name]) => name === "index.html")[1].toString();
  assert.ok(!/<style|<script(?![^>]* src=)| on\w+=| style=/.test(page));
  const script = files.find(([name]) => name.endsWith(".js"))[1].toString();
  assert.ok(!/\beval\(|new Function\(/.test(script));
});
