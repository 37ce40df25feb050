import assert from "node:assert/strict";
import { test } from "node:test";

import { cacheSentence, timingOf } from "../../src/answer/call.ts";
import { contentOf, ending } from "../../src/answer/views.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("an answer is shown as what it is", () => {
  const cases: [Uint8Array, string, string, string][] = [
    [bytes("5"), "application/json", "json", "json"],
    [bytes('{"a":1}'), "application/vnd.api+json", "json", "json"],
    [bytes('"<p>Hello</p>"'), "application/json", "html", "html"],
    [bytes('"plain"'), "application/json", "text", "txt"],
    [bytes("# Title"), "text/markdown; charset=utf-8", "markdown", "md"],
    [bytes("<!DOCTYPE html><p>Hello"), "text/plain", "html", "html"],
    [bytes("<svg xmlns='http://www.w3.org/2000/svg'/>"), "application/octet-stream", "svg", "svg"],
    [bytes("words"), "application/octet-stream", "text", "txt"],
    [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a), "application/octet-stream", "image", "png"],
    [Uint8Array.of(0xff, 0xd8, 0xff, 0xe0), "", "image", "jpg"],
    [bytes("RIFF\u0001\u0001\u0001\u0001WEBPVP8 "), "", "image", "webp"],
    [bytes("RIFF\u0001\u0001\u0001\u0001WAVEfmt "), "audio/wav", "text", "txt"],
    [Uint8Array.of(0, 1, 2), "application/octet-stream", "bytes", "bin"],
    [Uint8Array.of(0xff, 0xfe), "text/plain", "bytes", "bin"],
  ];
  for (const [content, type, view, end] of cases) {
    const found = contentOf(content, type);
    assert.equal(found.views[0], view, `${new TextDecoder().decode(content)} as ${type}`);
    assert.equal(ending(found), end);
  }
});

test("every text can be read as text, too", () => {
  for (const text of ["<p>a</p>", "<svg></svg>", "# a"]) assert.ok(contentOf(bytes(text), "text/html").views.includes("text"));
});

test("timings are read with their texts", () => {
  assert.deepEqual(timingOf('queue;dur=0.01, start;dur=2, a, b;dur=1;desc="1 of 2, hit; \\"x\\""'), [
    { name: "queue", ms: 0.01 },
    { name: "start", ms: 2 },
    { name: "a", ms: 0 },
    { name: "b", ms: 1, text: '1 of 2, hit; "x"' },
  ]);
  assert.deepEqual(timingOf(""), []);
});

test("each state of the cache has a sentence of its own", () => {
  const states = [
    "nebula; hit", "nebula; hit; detail=disk", "nebula; fwd=miss; stored", "nebula; fwd=miss",
    "nebula; fwd=miss; collapsed", "nebula; fwd=request; stored", "nebula; fwd=bypass",
  ];
  assert.equal(new Set(states.map(cacheSentence)).size, states.length);
});
