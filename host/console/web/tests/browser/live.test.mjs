// The parts that the console follows: the log, traps, counts, and runs of pipelines.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Console, launch } from "./browser.mjs";
import { Nebula, functionFile, guestFile } from "./nebula.mjs";

let [nebula, browser] = [];

before(async () => {
  nebula = await Nebula.start();
  await nebula.deploy("add", functionFile("add"));
  await nebula.deploy("top-words", functionFile("top-words"));
  await nebula.deploy("slugify", functionFile("slugify"));
  await nebula.deploy("prints-input", guestFile("prints_input"));
  await nebula.deploy("panics", guestFile("panics"));
  await nebula.deployPipeline("text-card", {
    input: "string",
    steps: { all: { title: "slugify", words: "top-words" } },
  });
  await nebula.deployPipeline("deep-panic", { steps: ["panics"] });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await nebula?.stop();
});

test("the log is followed, filtered and paused", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  await it.go("#/logs");
  await page.getByText("Following.").waitFor();
  await nebula.call("prints-input", "the first line", "text/plain");
  await page.getByText("the first line").waitFor();
  await nebula.call("prints-input", "another line", "text/plain");
  await page.getByText("another line").waitFor();
  // The newest is first.
  const order = await page.getByLabel("Log of calls").getByRole("listitem").allInnerTexts();
  assert.match(order[0], /another line/);

  await page.getByLabel("Filter the log").fill("first");
  await page.getByText("another line").waitFor({ state: "detached" });
  await page.getByLabel("Filter the log").fill("");

  await page.getByRole("button", { name: "Pause" }).click();
  await nebula.call("prints-input", "while it paused", "text/plain");
  await page.waitForTimeout(1500);
  assert.equal(await page.getByText("while it paused").count(), 0);
  // A log that asks nothing says nothing about the server.
  it.expected.push(/net::ERR_FAILED/);
  await page.route("**/api/**", (route) => route.abort());
  await page.getByText("The server doesn't answer.").waitFor();
  await page.waitForTimeout(2500);
  assert.equal(await page.getByText("The server doesn't answer.").count(), 1);
  await page.unroute("**/api/**");
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByText("while it paused").waitFor();
  await it.isAccessible("the log");
  await it.shot("log");
  await it.close();
});

test("a trap is shown with its backtrace, in the answer and among the failures", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  it.expect(502, "/api/v1/functions/panics/call");
  await it.go("#/functions/panics");
  await page.getByLabel("depth", { exact: true }).fill("3");
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.getByText("502 trap").waitFor();
  await page.getByText("inner_named_function").first().waitFor();
  await it.isAccessible("a trap");
  await it.shot("trap");

  await it.go("#/failures");
  const entry = page.getByRole("listitem").filter({ hasText: "the depth of 3 is not enough" }).first();
  await entry.getByText("Backtrace", { exact: true }).click();
  await entry.getByText("inner_named_function").waitFor();
  await it.isAccessible("the failures");
  // It is followed, too; the stack of a pipeline's step is that of the function.
  await nebula.call("deep-panic", "4");
  const deep = page.getByRole("listitem").filter({ hasText: "the depth of 4 is not enough" }).first();
  await deep.getByText("Backtrace", { exact: true }).click();
  await deep.getByText("outer_named_function").first().waitFor();
  await it.close();
});

test("a run of a pipeline is shown step by step in its diagram", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  await it.go("#/pipelines");
  await page.getByRole("link", { name: "text-card" }).click();
  const diagram = page.getByRole("group", { name: "Diagram of the pipeline" });
  await diagram.locator("svg").waitFor();
  // The types are on the edges.
  await diagram.locator("text").filter({ hasText: "list<record" }).first().waitFor();
  await page.getByLabel("text", { exact: true }).or(page.getByLabel("input", { exact: true })).first().fill("one two two");
  await page.getByRole("button", { name: "Run step by step" }).click();
  await page.getByText("The pipeline returned its answer").waitFor();
  await page.getByText(/Step 1 of 2: /).waitFor();
  assert.equal(await diagram.locator("[data-step].ran").count(), 2);
  const first = await diagram.locator(".selected").textContent();
  await page.getByRole("button", { name: "Next step →" }).click();
  await page.getByText(/Step 2 of 2: /).waitFor();
  await page.waitForFunction((it) => document.querySelector("[data-step].selected")?.textContent !== it, first);
  await it.isAccessible("a run of a pipeline");
  await it.shot("run");
  // The second time the steps are cached.
  await page.getByRole("button", { name: "Run step by step" }).click();
  await page.getByText("cached in memory").first().waitFor();
  await page.waitForFunction(() => document.querySelectorAll("[data-step].hit").length === 2);
  await it.close();
});

test("counts follow calls, and a hidden page asks nothing", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  await it.go("#/functions");
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: "add", exact: true }) });
  await row.waitFor();
  for (let a = 0; a < 25; a += 1) await nebula.call("add", JSON.stringify({ a, b: 1 }));
  await row.getByRole("cell", { name: "25", exact: true }).waitFor();
  await row.getByRole("cell", { name: /\d\/s$/ }).waitFor();

  let asked = 0;
  page.on("request", () => (asked += 1));
  await page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  // A question that was on its way may still end.
  await page.waitForTimeout(1500);
  asked = 0;
  await page.waitForTimeout(4500);
  assert.equal(asked, 0);
  await page.evaluate(() => {
    delete document.visibilityState;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForTimeout(1000);
  assert.ok(asked > 0);
  await it.close();
});

test("a server that doesn't answer is told calmly, and found again", async () => {
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  it.expected.push(/net::ERR_FAILED/);
  await page.getByRole("heading", { name: "The last ten minutes" }).waitFor();
  await page.route("**/api/**", (route) => route.abort());
  await page.getByText("The server doesn't answer.").waitFor();
  // The view stays.
  await page.getByRole("heading", { name: "The last ten minutes" }).waitFor();
  await it.isAccessible("a server that doesn't answer");
  await page.unroute("**/api/**");
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByText("The server doesn't answer.").waitFor({ state: "detached" });
  await it.close();
});

test("what can't be read any more is old, and says so", async () => {
  await nebula.deploy("leaving", functionFile("add"));
  const it = await (await Console.open(browser, nebula)).signIn();
  const { page } = it;
  it.expect(404, "/api/v1/functions/leaving").expect(502, "/api/v1/");
  await it.go("#/functions/leaving/log");
  await page.getByText("Following.").waitFor();
  await nebula.send("DELETE", "/api/v1/functions/leaving");
  // The log and the function are both told, each beside what was there before.
  await page.getByText("404 unknown-function").first().waitFor();
  await page.getByText("This is old and can't be read again").waitFor();
  await page.getByText("handle: func(a: s64, b: s64)").first().waitFor();
  await it.isAccessible("a function that was removed");

  // Something between the browser and the server answers.
  await it.go("#/functions");
  await page.getByRole("link", { name: "add", exact: true }).waitFor();
  await page.route("**/api/**", (route) => route.fulfill({ status: 502, contentType: "text/html", body: "<h1>Bad gateway" }));
  await page.getByText("Something else than the server answered, with the status 502.").waitFor();
  await page.getByRole("link", { name: "add", exact: true }).waitFor();
  await page.unroute("**/api/**");
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByText("Something else than the server answered").waitFor({ state: "detached" });
  await it.close();
});
