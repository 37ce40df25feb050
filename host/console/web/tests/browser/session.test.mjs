// Signing in and out, and what each scope sees.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Console, launch } from "./browser.mjs";
import { Nebula, functionFile, guestFile, root } from "./nebula.mjs";

let [nebula, browser] = [];

before(async () => {
  nebula = await Nebula.start();
  await nebula.deploy("add", functionFile("add"));
  await nebula.deploy("add", guestFile("mirrors_payload"));
  await nebula.deployPipeline("add-twice", { input: "payload", steps: ["add", "add"] });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await nebula?.stop();
});

test("a wrong token is refused in words, and a right one opens the console", async () => {
  const it = await Console.open(browser, nebula);
  it.expect(401, "/api/v1/session");
  await it.page.getByLabel("Token").fill("nebula_wrong");
  await it.page.getByRole("button", { name: "Sign in" }).click();
  await it.page.getByText("The server doesn't have this token").waitFor();
  await it.signIn();
  await it.page.getByRole("heading", { name: "Overview" }).waitFor();

  // The session is in a cookie that no script can read.
  assert.equal(await it.page.evaluate(() => document.cookie), "");
  const [cookie] = await it.context.cookies();
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ["nebula_session", true, "Strict"]);

  // It lasts over a reload, and ends with the button.
  await it.page.reload();
  await it.page.getByRole("heading", { name: "Overview" }).waitFor();
  await it.page.getByRole("button", { name: "Sign out" }).click();
  await it.page.getByRole("heading", { name: "Sign in to Nebula" }).waitFor();
  assert.equal((await it.page.request.get(`${nebula.control}/api/v1/functions`)).status(), 401);
  await it.close();
});

test("a link that doesn't work says so, and its code leaves the address", async () => {
  const it = await Console.open(browser, nebula, { hash: "#/sign-in/not-a-code" });
  it.expect(401, "/api/v1/session");
  await it.page.getByRole("alert").getByText("this link works once", { exact: false }).waitFor();
  assert.ok(!it.page.url().includes("not-a-code"));
  await it.signIn();
  await it.close();
});

test("the link of `nebula up` signs in, once", async () => {
  const up = await Nebula.up(root("functions/add"));
  try {
    const link = new URL(up.console);
    const it = await Console.open(browser, up, { hash: link.hash });
    await it.page.getByRole("heading", { name: "Overview" }).waitFor();
    assert.ok(!it.page.url().includes(link.hash));
    // A user with a session may open it again.
    it.expect(401, "/api/v1/session");
    await it.page.goto("about:blank");
    await it.page.goto(up.console);
    await it.page.getByRole("heading", { name: "Overview" }).waitFor();
    await it.close();
    const other = await Console.open(browser, up, { hash: link.hash });
    other.expect(401, "/api/v1/session");
    await other.page.getByRole("alert").waitFor();
    await other.close();
  } finally {
    await up.stop();
  }
});

test("a session that the server ends leads back to the sign-in, and takes its inputs with it", async () => {
  const secret = await nebula.createToken("short-lived", "invoke");
  const it = await (await Console.open(browser, nebula)).signIn(secret);
  it.expect(401, "/api/v1/");
  await it.go("#/functions/add");
  await it.page.getByLabel("Input", { exact: true }).fill("private");
  await nebula.send("DELETE", "/api/v1/tokens/short-lived");
  await it.page.getByRole("heading", { name: "Sign in to Nebula" }).waitFor();
  await it.page.getByText("Your session has ended").waitFor();
  await it.isAccessible("the sign-in after the end of a session");
  await it.signIn();
  // A screen reader goes on at the heading of the view.
  await it.page.waitForFunction(() => document.activeElement?.tagName === "H1");
  assert.equal(await it.page.getByLabel("Input", { exact: true }).inputValue(), "");
  await it.close();
});

test("a token that is created again with less shows fewer buttons", async () => {
  const it = await (await Console.open(browser, nebula)).signIn(await nebula.createToken("changing", "admin"));
  it.expect(403, "/api/v1/");
  await it.go("#/functions/add/versions");
  const remove = it.page.getByRole("button", { name: "Remove add…" });
  await remove.waitFor();
  // The server says of this session from now on that it may only read.
  await it.page.route("**/api/v1/session", (route) =>
    route.fulfill({ json: { name: "changing", scope: "read" } }),
  );
  await it.page.route("**/api/v1/functions/add/rollback", (route) =>
    route.fulfill({ status: 403, json: { type: "urn:nebula:problem:insufficient-scope", detail: "the scope is `read`", status: 403 } }),
  );
  await it.page.getByRole("button", { name: "Make v1 current…" }).click();
  await it.page.getByRole("button", { name: "Make v1 current", exact: true }).click();
  await remove.waitFor({ state: "detached" });
  await it.close();
});

test("a one-time link works in a page that is open", async () => {
  const up = await Nebula.up(root("functions/add"));
  try {
    const it = await Console.open(browser, up);
    await it.page.getByLabel("Token").waitFor();
    await it.go(new URL(up.console).hash);
    await it.page.getByRole("heading", { name: "Overview" }).waitFor();
    assert.ok(!it.page.url().includes("sign-in"));
    await it.close();
  } finally {
    await up.stop();
  }
});

/** Returns the names of all buttons of all views that a function and the server have. */
async function buttons(it) {
  const found = [];
  const views = [
    "#/", "#/functions", "#/pipelines", "#/logs", "#/failures", "#/cache",
    ...["", "/stats", "/log", "/versions", "/about"].map((tab) => `#/functions/add${tab}`),
    "#/functions/add-twice/steps",
  ];
  for (const view of views) {
    await it.go(view);
    await it.page.waitForTimeout(300);
    found.push(...(await it.page.getByRole("button").allInnerTexts()));
  }
  return found.map((text) => text.trim());
}

test("no scope sees a button that it can't use", async () => {
  const changes = [/^Deploy/, /^Make v/, /^Remove/, /^Clear/, /token/];
  const calls = [/^Call$/, /^Run step by step$/];
  const seen = async (scope, secret) => {
    const it = await (await Console.open(browser, nebula)).signIn(secret);
    const names = await buttons(it);
    const links = await it.page.getByRole("link", { name: "Tokens" }).count();
    // Files can't be dropped either, and the browser doesn't leave the page for them.
    await it.drop(functionFile("add"));
    const dialogs = await it.page.getByRole("dialog").count();
    await it.close();
    const has = (patterns) => patterns.filter((pattern) => names.some((name) => pattern.test(name))).length;
    return { scope, changes: has(changes), calls: has(calls), links, dialogs };
  };
  const read = await seen("read", await nebula.createToken("reader", "read"));
  assert.deepEqual(read, { scope: "read", changes: 0, calls: 0, links: 0, dialogs: 0 });
  const invoke = await seen("invoke", await nebula.createToken("caller", "invoke"));
  assert.deepEqual(invoke, { scope: "invoke", changes: 0, calls: 2, links: 0, dialogs: 0 });
  const admin = await seen("admin", nebula.token);
  assert.deepEqual(admin, { scope: "admin", changes: 4, calls: 2, links: 1, dialogs: 1 });
});

test("tokens are created, shown once, and revoked", async () => {
  const it = await (await Console.open(browser, nebula, { hash: "#/tokens" })).signIn();
  await it.go("#/tokens");
  await it.page.getByRole("button", { name: "Create a token…" }).click();
  await it.page.waitForFunction(() => document.activeElement?.labels?.[0]?.textContent === "Name");
  await it.isAccessible("the form of a new token");
  await it.shot("dialog-token-new");
  await it.page.getByLabel("Name").fill("dashboard");
  await it.page.getByRole("button", { name: "Create", exact: true }).click();
  // A screen reader reads the token, which has the focus.
  await it.page.waitForFunction(() => document.activeElement?.textContent.includes("nebula_"));
  await it.isAccessible("a new token");
  // A screen reader reads only notices in the dialog meanwhile.
  await it.page.getByRole("button", { name: "Copy the token" }).click();
  await it.page.getByRole("dialog").getByRole("status").getByText(/Copied the token|by hand/).waitFor();
  const secret = await it.page.getByRole("dialog").locator("code").innerText();
  assert.match(secret, /^nebula_/);
  const answer = await fetch(`${nebula.control}/api/v1/functions`, { headers: { authorization: `Bearer ${secret}` } });
  assert.equal(answer.status, 200);
  await it.page.getByRole("button", { name: "Done" }).click();
  await it.page.getByRole("button", { name: "Revoke dashboard" }).click();
  await it.page.getByRole("button", { name: "Revoke", exact: true }).click();
  await it.page.getByText("Revoked dashboard.").waitFor();
  await it.page.getByRole("rowheader", { name: "dashboard" }).waitFor({ state: "detached" });
  await it.close();
});
