import assert from "node:assert/strict";
import { test } from "node:test";

// The parts of a browser that the module needs.
Object.assign(globalThis, { location: { hash: "#/logs" }, addEventListener: () => {} });
const { functionHref, parse, route } = await import("../../src/route.ts");

test("the address of the page is its first view", () => assert.deepEqual(route.value, { view: "logs" }));

test("fragments name views", () => {
  const cases: [string, object][] = [
    ["", { view: "overview" }],
    ["#", { view: "overview" }],
    ["#/", { view: "overview" }],
    ["#/functions", { view: "functions" }],
    ["#/functions/", { view: "functions" }],
    ["#/functions/add", { view: "function", name: "add", tab: "call" }],
    ["#/functions/add/log", { view: "function", name: "add", tab: "log" }],
    ["#/functions/add/nothing", { view: "unknown" }],
    ["#/functions/a%20b", { view: "function", name: "a b", tab: "call" }],
    ["#/functions/%zz", { view: "function", name: "%zz", tab: "call" }],
    ["#/sign-in", { view: "sign-in" }],
    ["#/sign-in/abc", { view: "sign-in", code: "abc" }],
    ["#/logs", { view: "logs" }],
    ["#/logs/more", { view: "unknown" }],
    ["#/nowhere", { view: "unknown" }],
  ];
  for (const [fragment, view] of cases) assert.deepEqual(parse(fragment), view, fragment);
});

test("the address of a function leads back to it", () => {
  for (const name of ["add", "a b", "a/b", "ä%"]) {
    for (const tab of ["call", "steps", "stats", "log", "versions", "about"] as const) {
      assert.deepEqual(parse(functionHref(name, tab)), { view: "function", name, tab });
    }
  }
});
