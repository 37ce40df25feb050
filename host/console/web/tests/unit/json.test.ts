import assert from "node:assert/strict";
import { test } from "node:test";

import { compact, isNumberText, lengthOf, read, write } from "../../src/json.ts";

test("numbers keep all of their digits", () => {
  for (const text of ["18446744073709551615", "-9223372036854775808", "0.1", "1e400", "9007199254740993", "1.0", "1E+2"]) {
    const found = read(`{"a":[${text}]}`);
    assert.ok(!found.mistake);
    assert.equal(compact(found.value), `{"a":[${text}]}`);
  }
});

test("what is written is read as the same", () => {
  const text = '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ],\n  "c": "\\"\\\\\\n",\n  "d": true\n}';
  const found = read(text);
  assert.ok(!found.mistake);
  assert.equal(write(found.value), text);
});

test("a mistake has its place", () => {
  const cases: [string, number, number][] = [
    ['{"a": }', 1, 7],
    ['{\n  "a": 1,\n  b: 2\n}', 3, 3],
    ['[1,\n2', 2, 2],
    ["", 1, 1],
    ["[1] x", 1, 5],
    ['{"a": 1, "a": 2}', 1, 11],
  ];
  for (const [text, line, column] of cases) {
    const { mistake } = read(text);
    assert.ok(mistake, text);
    assert.deepEqual([mistake.line, mistake.column], [line, column], `${text}: ${mistake.message}`);
    assert.ok(mistake.message.length > 5 && !/position/.test(mistake.message), mistake.message);
  }
});

test("a text that is nested too deeply says so", () => {
  const found = read("[".repeat(200_000) + "]".repeat(200_000));
  assert.match(found.mistake?.message ?? "", /nested too deeply/);
});

test("the length of a value is counted up to a limit", () => {
  const found = read(`{"a": "${"x".repeat(1000)}", "b": [[["${"y".repeat(1000)}"]]]}`);
  assert.ok(!found.mistake);
  const length = lengthOf(found.value, 1e6);
  assert.ok(length > 2000 && length < 2100, String(length));
  assert.ok(lengthOf(found.value, 500) > 500);
});

test("a number is what JSON calls one", () => {
  for (const text of ["0", "-0", "12", "1.5", "1e9", "-1.25E-3"]) assert.ok(isNumberText(text), text);
  for (const text of ["", "-", "01", "1.", ".5", "+1", "1e", "0x1", "NaN", "1 "]) assert.ok(!isNumberText(text), text);
});
