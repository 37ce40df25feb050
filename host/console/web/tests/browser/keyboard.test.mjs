// Everything from signing in to an answer, without a mouse.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Console, launch } from "./browser.mjs";
import { Nebula, functionFile } from "./nebula.mjs";

let [nebula, browser] = [];

before(async () => {
  nebula = await Nebula.start();
  await nebula.deploy("add", functionFile("add"));
  await nebula.deploy("add", functionFile("word-count"));
  await nebula.deploy("add", functionFile("add"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await nebula?.stop();
});

/** Presses Tab until the focus is on an element with this name. Every stop has to be visible. */
async function tabTo(page, name) {
  for (let presses = 0; presses < 80; presses += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const label = element?.labels?.[0]?.textContent ?? element?.getAttribute("aria-label") ?? element?.textContent ?? "";
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const hasBox = element.getBoundingClientRect().width > 0;
      return { label: label.trim(), isVisible: hasBox && outlineStyle !== "none" && parseFloat(outlineWidth) > 0 };
    });
    if (at.label === "" && presses > 0) continue;
    assert.ok(at.isVisible, `the focus on “${at.label}” is invisible`);
    if (at.label === name) return;
  }
  assert.fail(`Tab doesn't reach “${name}”`);
}

test("a function is found, called and rolled back with the keyboard alone", async () => {
  const it = await Console.open(browser, nebula);
  const { page } = it;
  await page.getByLabel("Token").waitFor();
  await tabTo(page, "Token");
  await page.keyboard.type(nebula.token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();

  await tabTo(page, "Functions");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Functions" }).waitFor();
  // The focus follows to the heading of the view.
  await page.waitForFunction(() => document.activeElement?.tagName === "H1");
  await tabTo(page, "Search functions");
  await page.keyboard.type("add");
  await tabTo(page, "add");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "add" }).waitFor();
  await page.getByLabel("a", { exact: true }).waitFor();
  await tabTo(page, "a");
  await page.keyboard.type("40");
  await tabTo(page, "b");
  await page.keyboard.type("2");
  await tabTo(page, "Call");
  await page.keyboard.press("Enter");
  await page.getByText("200 OK").waitFor();
  await page.getByRole("region", { name: "Answer" }).getByText("42", { exact: true }).waitFor();

  await page.evaluate(() => document.querySelector("h1").focus());
  await tabTo(page, "Versions");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Make v1 current…" }).waitFor();
  await tabTo(page, "Make v1 current…");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  // The focus stays in the dialog, Escape closes it, and the focus returns.
  for (let presses = 0; presses < 8; presses += 1) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null));
  }
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await page.waitForFunction(() => document.activeElement?.textContent === "Make v1 current…");
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  // The button of the change has the focus.
  await page.keyboard.press("Enter");
  await page.getByText("add@v1 is current now.").waitFor();
  await it.close();
});

test("a link skips the navigation", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  await page.reload();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await tabTo(page, "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H1");
  await it.close();
});
