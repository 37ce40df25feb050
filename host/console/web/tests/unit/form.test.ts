import assert from "node:assert/strict";
import { test } from "node:test";

import { idOf } from "../../src/form/context.ts";
import { describe } from "../../src/form/docs.ts";
import { answerType, inputType, signatureOf, typeOf, typeText } from "../../src/form/type.ts";
import { base64Of, blank, bytesIn, bytesOf, fits, memberPointer, mistakeIn, numberFrom, numberText } from "../../src/form/value.ts";
import { type Json, compact, number, read } from "../../src/json.ts";

const EVERYTHING = `record { yes: bool, tiny: s8, large: u64, double: f64, letter: char, text: string,
  bytes: list<u8>, colour: enum { red, deep-green }, rights: flags { read, write },
  shapes: list<variant { point, circle(f64), polygon(list<tuple<f32, f32>>) }>,
  maybe: option<u32>, nested-maybe: option<option<string>>, outcome: result<u32, string>,
  bare: result, half: result<_, string>, sizes: map<string, u8>, pairs: map<u8, string> }`;

function json(text: string): Json {
  const found = read(text);
  assert.ok(!found.mistake);
  return found.value;
}

test("a new form holds a value of every type", () => {
  const value = blank(typeOf(EVERYTHING));
  const expected = {
    yes: false, tiny: null, large: null, double: null, letter: "", text: "", bytes: "", colour: "red", rights: [],
    shapes: [], outcome: { ok: null }, bare: { ok: null }, half: { ok: null }, sizes: {}, pairs: [],
  };
  assert.equal(compact(value), JSON.stringify(expected));
  assert.ok(fits(typeOf(EVERYTHING), value));
});

test("fields are in the order of their declaration, and options may be left out", () => {
  const type = typeOf("record { z: u8, a: option<u8>, m: list<u8> }");
  assert.ok(type.kind === "record");
  assert.deepEqual(type.fields.map((it) => [it.name, it.isOptional]), [["z", false], ["a", true], ["m", false]]);
});

test("integers have the range of their type", () => {
  const ranges: Record<string, [string, string]> = {
    u8: ["0", "255"], s8: ["-128", "127"], u16: ["0", "65535"], s32: ["-2147483648", "2147483647"],
    u64: ["0", "18446744073709551615"], s64: ["-9223372036854775808", "9223372036854775807"],
  };
  for (const [name, [min, max]] of Object.entries(ranges)) {
    const type = typeOf(name);
    for (const text of [min, max]) assert.equal(mistakeIn(type, number(text)), undefined, `${name} ${text}`);
    for (const text of [String(BigInt(min) - 1n), String(BigInt(max) + 1n)]) {
      assert.match(mistakeIn(type, number(text)) ?? "", /Out of range/, `${name} ${text}`);
    }
    assert.match(mistakeIn(type, "1x") ?? "", /Not a whole number/);
    assert.equal(mistakeIn(type, null), undefined);
  }
});

test("floats may be not finite, and characters are code points", () => {
  for (const text of ["NaN", "Infinity", "-Infinity"]) assert.equal(mistakeIn(typeOf("f32"), text), undefined);
  assert.ok(mistakeIn(typeOf("f64"), "infinite"));
  assert.equal(mistakeIn(typeOf("char"), "🦀"), undefined);
  assert.ok(mistakeIn(typeOf("char"), "ab"));
});

test("the text of a number stays as it is typed", () => {
  for (const text of ["18446744073709551615", "1.50", "-", "1.", "abc", ""]) {
    assert.equal(numberText(numberFrom(text)), text);
  }
  assert.equal(compact(numberFrom("18446744073709551615")), "18446744073709551615");
  assert.equal(compact(numberFrom("-")), '"-"');
});

test("signatures give the documents of their arguments and answers", () => {
  const two = signatureOf("handle: func(a: s64, b: s64) -> result<s64, string>");
  assert.ok(two);
  assert.equal(typeText(inputType(two) ?? { kind: "other" }), "record");
  assert.equal(answerType(two)?.kind, "integer");
  const one = signatureOf("handle: func(text: string) -> list<u8>");
  assert.ok(one);
  assert.equal(inputType(one)?.kind, "string");
  assert.equal(answerType(one)?.kind, "bytes");
  const none = signatureOf("handle: func()");
  assert.ok(none);
  assert.equal(inputType(none), undefined);
  assert.equal(answerType(none), undefined);
  assert.equal(signatureOf("wasi:http/incoming-handler"), undefined);
  assert.equal(signatureOf("handle: func(a: list<"), undefined);
});

test("a value of another type isn't forced into a field", () => {
  const misfits: [string, string][] = [
    ["record { a: u8 }", "[1]"], ["tuple<u8, u8>", "[1]"], ["variant { a, b(u8) }", '{"a":1}'],
    ["variant { a, b(u8) }", '"b"'], ["variant { a, b(u8) }", '"c"'], ["option<option<u8>>", "3"], ["bool", "null"],
    ["flags { a }", '"a"'], ["list<string>", "{}"], ["string", "1"], ["result", '"ok"'],
  ];
  for (const [type, value] of misfits) assert.ok(!fits(typeOf(type), json(value)), `${type} ${value}`);
  const fitting: [string, string][] = [
    ["variant { a, b(u8) }", '{"b":1}'], ["variant { a, b(u8) }", '"a"'], ["option<option<u8>>", '{"some":null}'],
    ["option<u8>", "3"], ["result", '{"ok":null}'], ["u64", '"12"'], ["map<string, u8>", '{"a":1}'],
    ["map<u8, string>", '[[1,"a"]]'],
  ];
  for (const [type, value] of fitting) assert.ok(fits(typeOf(type), json(value)), `${type} ${value}`);
});

test("names and texts come from the schema, wherever the type is", () => {
  const type = describe(
    typeOf("list<tuple<u8, variant { nothing, dot(record { x: f64 }) }>>"),
    json(`{"items": {"prefixItems": [{}, {"title": "shape", "oneOf": [
      {"const": "nothing", "description": "None."},
      {"properties": {"dot": {"title": "point", "properties": {"x": {"description": "To the right."}}}}}
    ]}]}}`),
  );
  assert.ok(type.kind === "list" && type.item.kind === "tuple");
  const shape = type.item.items[1];
  assert.ok(shape?.kind === "variant" && shape.title === "shape" && shape.cases[0]?.docs === "None.");
  const point = shape.cases[1]?.payload;
  assert.ok(point?.kind === "record" && point.title === "point");
  assert.equal(point.fields[0]?.type.docs, "To the right.");
});

test("pointers escape what has a meaning in them", () => {
  assert.equal(memberPointer("/a", "b/c~d"), "/a/b~1c~0d");
  assert.equal(memberPointer("", 0), "/0");
});

test("bytes survive base64, however many", () => {
  const bytes = Uint8Array.from({ length: 200_000 }, (_, at) => at % 251);
  assert.deepEqual(bytesOf(base64Of(bytes)), bytes);
  assert.equal(bytesOf("a?"), undefined);
});

test("the length of base64 is known without decoding it", () => {
  for (let length = 0; length < 9; length += 1) {
    const text = base64Of(new Uint8Array(length));
    assert.equal(bytesIn(text), length);
    assert.equal(bytesIn(text.replace(/=+$/, "")), length);
  }
  for (const text of ["a", "a?", "a===", "=", "ab=", "a=b=", "abcde", "ab==c"]) {
    assert.equal(bytesIn(text), undefined, text);
    assert.equal(bytesOf(text), undefined, text);
  }
});

test("ids have no spaces, and differ if their pointers do", () => {
  const pointers = ["", "/a", "/a b", "/a%20b", "/a\tb", "/a\u00a0b"];
  const ids = pointers.map((it) => idOf("f", it));
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.ok(!/\s/.test(id), id);
});
