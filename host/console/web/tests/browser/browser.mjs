// Chromium for the tests, and a page that watches what must never happen.
//
// Invariants of every page, checked by `check`:
// * The console of the browser has no error and no warning of a policy.
// * No request goes to another host than the server's.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";

import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The folder for screenshots; none are made if it isn't set. */
const shots = process.env.NEBULA_SCREENSHOTS;

/** Starts the browser. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-dev-shm-usage",
    ],
  });
}

/** A page of the console. */
export class Console {
  /** Opens a page with cookies of its own. */
  static async open(browser, nebula, { width = 1280, height = 860, scheme = "light", hash = "" } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, acceptDownloads: true });
    // The evaluation of axe and of the tests isn't the page's: its policy stays as it is.
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const console_ = new Console();
    Object.assign(console_, { context, page, nebula, faults: [], expected: [] });
    console_.watch();
    await page.goto(`${nebula.control}/${hash}`);
    return console_;
  }

  watch() {
    const origin = new URL(this.nebula.control).origin;
    this.page.on("console", (message) => {
      const text = `${message.text()} ${message.location().url}`;
      if (!["error", "warning"].includes(message.type())) return;
      // A browser reports each refusal that the page shows to its user.
      if (this.expected.some((it) => it.test(text))) return;
      this.faults.push(`console: ${text}`);
    });
    this.page.on("pageerror", (error) => this.faults.push(`script: ${error.stack}`));
    this.page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !/^(blob|data|about):/.test(url)) this.faults.push(`request: ${url}`);
    });
  }

  /** Allows the browser to report that requests to `path` were answered with `status`. */
  expect(status, path) {
    this.expected.push(new RegExp(`status of ${status} .*${path}`));
    return this;
  }

  /** Signs in through the form. */
  async signIn(token = this.nebula.token) {
    await this.page.getByLabel("Token").fill(token);
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.page.getByRole("navigation", { name: "Views" }).or(this.page.getByRole("button", { name: "Menu" })).first().waitFor();
    return this;
  }

  /** Shows a view. */
  async go(hash) {
    await this.page.evaluate((it) => (location.hash = it), hash);
    return this;
  }

  /** Drops files on the page, as a user does with the mouse. Fails if the browser would open them. */
  async drop(...files) {
    const contents = files.map((file) => [readFileSync(file).toString("base64"), basename(file)]);
    const isOurs = await this.page.evaluate((contents) => {
      const data = new DataTransfer();
      for (const [bytes, name] of contents) {
        const content = Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0));
        data.items.add(new File([content], name, { type: "application/wasm" }));
      }
      const events = ["dragover", "drop"].map((type) => new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
      return events.every((event) => !document.body.dispatchEvent(event));
    }, contents);
    assert.ok(isOurs, "the browser opens the file");
  }

  /** Fails if a reader with a disability can't use what is shown. */
  async isAccessible(what) {
    await this.page.evaluate(axe);
    const result = await this.page.evaluate(() =>
      globalThis.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      }),
    );
    const found = result.violations.map((it) => `${it.id}: ${it.help}\n  ${it.nodes.map((node) => node.html).join("\n  ")}`);
    assert.deepEqual(found, [], `${what}: axe finds violations`);
  }

  /** Saves a picture, if pictures are wanted. */
  async shot(name) {
    if (!shots) return;
    mkdirSync(shots, { recursive: true });
    await this.page.screenshot({ path: join(shots, `${name}.png`), fullPage: true, caret: "initial" });
  }

  /** Fails if something happened that must never happen, and closes the page. */
  async close() {
    await this.context.close();
    assert.deepEqual(this.faults, []);
  }
}
