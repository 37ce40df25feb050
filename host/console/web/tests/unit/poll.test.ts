import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Refused, Unreachable } from "../../src/api/problem.ts";

// The parts of a browser that the modules need.
const page = new EventTarget() as EventTarget & { visibilityState: string };
page.visibilityState = "visible";
Object.assign(globalThis, { document: page, window: globalThis });
const { isTrouble, poll, retry, trouble } = await import("../../src/poll.ts");

const show = (state: "visible" | "hidden") => {
  page.visibilityState = state;
  page.dispatchEvent(new Event("visibilitychange"));
};
const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const refusal = (status: number) => new Refused({ type: "urn:nebula:problem:a", status, detail: "refused" });

beforeEach(() => show("visible"));

test("a question is asked again after its answer, until it is stopped", async () => {
  let [asked, running] = [0, 0];
  const stop = poll(async () => {
    running += 1;
    assert.equal(running, 1);
    await after(2);
    running -= 1;
    asked += 1;
  }, 1);
  await after(150);
  stop();
  assert.ok(asked >= 3, `${asked}`);
  const before = asked;
  await after(60);
  assert.ok(asked <= before + 1);
});

test("a hidden page asks nothing, and asks at once when it is shown", async () => {
  let asked = 0;
  const stop = poll(async () => void (asked += 1), 5);
  await after(30);
  show("hidden");
  await after(20);
  const before = asked;
  await after(50);
  assert.equal(asked, before);
  show("visible");
  assert.equal(asked, before + 1);
  stop();
});

test("the success of one question doesn't hide the trouble of another", async () => {
  const stopGood = poll(async () => {}, 1);
  const stopBad = poll(() => Promise.reject(new Unreachable()), 1);
  await after(40);
  assert.equal(trouble.value, "The server doesn't answer.");
  stopGood();
  assert.equal(trouble.value, "The server doesn't answer.");
  // A question that isn't asked any more has no trouble.
  stopBad();
  assert.equal(trouble.value, undefined);
});

test("a question that is answered again ends its trouble", async () => {
  let isDown = true;
  const stop = poll(async () => {
    if (isDown) throw refusal(503);
  }, 1000);
  await after(5);
  assert.equal(trouble.value, "Refused.");
  isDown = false;
  retry();
  await after(5);
  assert.equal(trouble.value, undefined);
  stop();
});

test("a refusal is told by its view, all else by the page", () => {
  for (const status of [400, 403, 404, 409]) assert.ok(!isTrouble(refusal(status)));
  for (const error of [refusal(500), refusal(502), new Unreachable(), new SyntaxError("not JSON")]) assert.ok(isTrouble(error));
});

test("after failures the pauses grow", async () => {
  let asked = 0;
  const stop = poll(() => {
    asked += 1;
    return Promise.reject(new Unreachable());
  }, 10);
  await after(150);
  stop();
  // 20, 40 and 80 ms.
  assert.ok(asked >= 2 && asked <= 4, `${asked}`);
});
