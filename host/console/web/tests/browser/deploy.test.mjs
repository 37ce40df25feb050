// Deploys by drop, versions, and removals.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Console, launch } from "./browser.mjs";
import { Nebula, functionFile } from "./nebula.mjs";

let [nebula, browser] = [];

before(async () => {
  nebula = await Nebula.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await nebula?.stop();
});

test("a dropped component becomes a function, then a new version, and goes back", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;

  await it.drop(functionFile("word-count"));
  await page.getByRole("dialog", { name: "Deploy a component" }).waitFor();
  // The name of the file gives that of the function.
  assert.equal(await page.getByLabel("Name of the function").inputValue(), "word-count");
  await page.getByText("A new function.").waitFor();
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await page.getByText("word-count@v1 is the current version now.").waitFor();
  await page.getByRole("button", { name: "Open word-count" }).click();
  await page.getByRole("heading", { name: "word-count" }).waitFor();

  await it.drop(functionFile("add"));
  await page.getByLabel("Name of the function").fill("word-count");
  await page.getByText("Replaces v1, which stays available").waitFor();
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await page.getByText("word-count@v2 is the current version now.").waitFor();
  await page.getByRole("button", { name: "Open word-count" }).click();
  // The form is that of the new version.
  await page.getByLabel("a", { exact: true }).waitFor();

  await it.go("#/functions/word-count/versions");
  await page.getByRole("button", { name: "Make v1 current…" }).click();
  await page.getByRole("dialog").getByText("Its signature differs").waitFor();
  await it.isAccessible("the question before a roll back");
  await page.getByRole("button", { name: "Make v1 current", exact: true }).click();
  await page.getByText("word-count@v1 is current now.").waitFor();
  await page.getByRole("button", { name: "Make v2 current…" }).waitFor();
  assert.equal((await nebula.send("GET", "/api/v1/functions/word-count")).current.version, "v1");
  await it.close();
});

test("dropped files are deployed one after another, and a deploy that runs keeps its dialog", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  const dialog = page.getByRole("dialog");
  const name = page.getByLabel("Name of the function");
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await page.route("**/api/v1/functions/fibonacci", async (route) => {
    await released;
    await route.continue();
  });
  await it.drop(functionFile("fibonacci"), functionFile("factorial"));
  await page.getByText("1 file waits after it.").waitFor();
  // The first stop of the keyboard is the name, not the button that closes the dialog.
  await page.waitForFunction(() => document.activeElement?.labels?.[0]?.textContent === "Name of the function");
  await it.isAccessible("the question before a deploy");
  await it.shot("dialog-deploy");
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await page.getByText("Sending…").or(page.getByText("The server checks")).first().waitFor();
  for (let presses = 0; presses < 3; presses += 1) {
    await page.keyboard.press("Escape");
    await page.waitForTimeout(100);
  }
  await dialog.getByText("The deploy goes on.").first().waitFor();
  await it.drop(functionFile("slugify"));
  release();
  await page.getByText("fibonacci@v1 is the current version now.").waitFor();
  await it.isAccessible("the end of a deploy");
  await it.shot("dialog-deployed");
  await dialog.getByRole("button", { name: "Close", exact: true }).last().click();
  await page.waitForFunction(() => document.querySelector("dialog input")?.value === "factorial");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.waitForFunction(() => document.querySelector("dialog input")?.value === "slugify");
  // The same file is asked about again, whatever the dialog shows.
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await page.getByText("slugify@v1 is the current version now.").waitFor();
  await it.drop(functionFile("slugify"));
  await name.waitFor();
  await page.getByText("Replaces v1").waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await dialog.waitFor({ state: "detached" });
  await it.close();
});

test("a removal that ends half-way says what is gone", async () => {
  await nebula.deploy("half", functionFile("slugify"));
  await nebula.deployPipeline("half-titles", { steps: { all: { title: "half" } } });
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  it.expect(412, "/api/v1/functions/half");
  await it.go("#/functions/half/versions");
  await page.getByRole("button", { name: "Remove half…" }).click();
  await page.getByLabel("Remove this pipeline too").check();
  // Another client deploys a version meanwhile.
  await page.route("**/api/v1/functions/half", (route) => (route.request().method() === "GET" ? route.abort() : route.continue()));
  it.expected.push(/net::ERR_FAILED/);
  await nebula.deploy("half", functionFile("word-count"));
  await page.getByRole("button", { name: "Remove half and 1 pipeline" }).click();
  await page.getByText("412 precondition-failed").waitFor();
  await page.getByText("Removed already:").waitFor();
  assert.equal(await page.getByText("Nothing has changed", { exact: true }).count(), 0);
  await it.isAccessible("a removal that ended half-way");
  await it.close();
});

test("a roll back that can't be read again is made all the same", async () => {
  await nebula.deploy("back", functionFile("slugify"));
  await nebula.deploy("back", functionFile("word-count"));
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  it.expected.push(/net::ERR_FAILED/);
  await it.go("#/functions/back/versions");
  await page.getByRole("button", { name: "Make v1 current…" }).click();
  await page.route("**/api/v1/functions", (route) => route.abort());
  await page.getByRole("button", { name: "Make v1 current", exact: true }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Make v2 current…" }).waitFor();
  await it.close();
});

test("a refusal says what is wrong with the component", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  it.expect(400, "/api/v1/functions/notes");
  const file = join(nebula.home, "notes.wasm");
  writeFileSync(file, "These are notes.");
  await it.drop(file);
  await it.page.getByRole("button", { name: "Deploy", exact: true }).click();
  await it.page.getByText("The server refused it").waitFor();
  await it.page.getByText("400 not-a-component").waitFor();
  await it.isAccessible("a refused deploy");
  await it.shot("refused");
  await it.page.getByLabel("Name of the function").fill("Not A Name");
  await it.page.getByText("A name has letters from a to z").waitFor();
  assert.ok(await it.page.getByRole("button", { name: "Try again" }).isDisabled());
  await it.close();
});

test("a function is removed with the pipelines that call it", async () => {
  await nebula.deploy("slugify", functionFile("slugify"));
  await nebula.deployPipeline("titles", { steps: { all: { title: "slugify" } } });
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  it.expect(409, "/api/v1/functions/slugify").expect(404, "/api/v1/functions/slugify");
  await it.go("#/functions/slugify/versions");
  await page.getByRole("button", { name: "Remove slugify…" }).click();
  await page.getByRole("dialog").getByText("1 pipeline calls it").waitFor();
  // Alone it can't be removed: the server names the pipeline.
  await page.getByRole("button", { name: "Remove slugify", exact: true }).click();
  await page.getByText("409 in-use").waitFor();
  await it.isAccessible("a refused removal");
  await page.getByLabel("Remove this pipeline too").check();
  await page.getByRole("button", { name: "Remove slugify and 1 pipeline" }).click();
  await page.getByText("Removed slugify.").waitFor();
  await page.getByRole("heading", { name: "Functions" }).waitFor();
  const left = (await nebula.send("GET", "/api/v1/functions")).functions.map((it) => it.name);
  assert.ok(!left.includes("slugify") && !left.includes("titles"), left.join());
  await it.close();
});
