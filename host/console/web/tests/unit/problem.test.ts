import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused, Unexpected, errorOf, problemOf } from "../../src/api/problem.ts";

const type = "urn:nebula:problem:trap";

test("only documents of Nebula are problems", () => {
  const others = [
    "", "null", "5", "[]", "<p>Bad gateway", "{}", '{"type": null, "detail": "a"}', '{"type": 5, "detail": "a"}',
    '{"type": "about:blank", "detail": "a"}', '{"detail": "a"}', `{"type": "${type}"}`, `{"type": "${type}", "detail": 5}`,
  ];
  for (const text of others) {
    assert.equal(problemOf(400, text), undefined, text);
    assert.ok(errorOf(502, text) instanceof Unexpected, text);
  }
  assert.deepEqual(problemOf(502, `{"type": "${type}", "detail": "a", "status": 400}`), { type, detail: "a", status: 502 });
  const error = errorOf(502, `{"type": "${type}", "detail": "a"}`);
  assert.ok(error instanceof Refused && error.kind === "trap" && error.status === 502);
});

test("members of a wrong type are left out", () => {
  const read = (members: object) => problemOf(400, JSON.stringify({ type, detail: "a", ...members }));
  const bare = { type, detail: "a", status: 400 };
  const wrong = {
    pointer: 5, expected: {}, found: [], hint: null, step: 1, reason: true, log_tail: 5, line: "1", column: null,
    backtrace: "x", pipelines: "x", other: "kept by no one",
  };
  for (const [name, value] of Object.entries(wrong)) assert.deepEqual(read({ [name]: value }), bare, name);
  const right = {
    pointer: "/a", expected: "u8", found: "a text", hint: "h", step: "s", reason: "r", log_tail: "t", line: 1, column: 2,
    backtrace: ["f"], pipelines: [{ pipeline: "p", reason: "r" }],
  };
  assert.deepEqual(read(right), { ...bare, ...right });
  assert.deepEqual(read({ backtrace: ["f", 5, null] })?.backtrace, ["f"]);
  assert.deepEqual(read({ pipelines: ["p", 5, null, {}, { pipeline: "q", reason: 5 }] })?.pipelines, [
    { pipeline: "p" },
    { pipeline: "q" },
  ]);
});
