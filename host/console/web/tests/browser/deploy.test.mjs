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
