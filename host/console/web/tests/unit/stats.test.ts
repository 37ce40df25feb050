import assert from "node:assert/strict";
import { test } from "node:test";

import type { Counts } from "../../src/api/wire.ts";
import * as format from "../../src/format.ts";
import { activity, hitRatio, quantile } from "../../src/stats.ts";
import { dependants } from "../../src/dependants.ts";
import type { FunctionVersion } from "../../src/api/wire.ts";

const BOUNDS = [10, 20, 50, 100];

function counts(part: Partial<Counts>): Counts {
  const none = { counts: [], sum_us: 0 };
  return {
    calls: 0, errors: 0, errors_by_code: {}, cold_starts: 0,
    sources: { memory: 0, disk: 0, merged: 0, miss: 0, uncached: 0, refused: 0 },
    lanes: { fast: 0, compute: 0 }, restarts: 0, input_bytes: 0, output_bytes: 0, saved_us: 0, cpu_us: 0,
    energy_joules: 0, saved_energy_joules: 0, phases: { queue: none, load: none, start: none, run: none }, ...part,
  };
}

test("two samples give what happened between them", () => {
  const run = (counts: number[]) => ({ queue: none, load: none, start: none, run: { counts, sum_us: 0 } });
  const none = { counts: [], sum_us: 0 };
  const before = { atUs: 1_000_000, counts: counts({ calls: 10, errors: 1, energy_joules: 1, phases: run([4, 1]) }) };
  const after = { atUs: 3_000_000, counts: counts({ calls: 30, errors: 1, energy_joules: 5, phases: run([4, 1, 20]) }) };
  const done = activity(before, after);
  assert.deepEqual([done.seconds, done.calls, done.errors, done.watts], [2, 20, 0, 2]);
  assert.deepEqual(done.phases.run.counts, [0, 0, 20]);
});

test("a function's first sample counts from zero, and a counter never falls", () => {
  const after = { atUs: 2_000_000, counts: counts({ calls: 3 }) };
  assert.equal(activity({ atUs: 1_000_000, counts: undefined }, after).calls, 3);
  assert.equal(activity({ atUs: 1_000_000, counts: counts({ calls: 50 }) }, after).calls, 3);
});

test("quantiles lie in the bucket that has them", () => {
  const histogram = { counts: [0, 10, 0, 10], sum_us: 0 };
  assert.equal(quantile(histogram, BOUNDS, 0.25), 15);
  assert.equal(quantile(histogram, BOUNDS, 0.5), 20);
  assert.equal(quantile(histogram, BOUNDS, 0.99), 50 + 50 * 0.98);
  assert.equal(quantile({ counts: [0, 0, 0, 0, 2], sum_us: 0 }, BOUNDS, 0.5), 100);
  assert.equal(quantile({ counts: [], sum_us: 0 }, BOUNDS, 0.5), undefined);
  assert.equal(quantile(undefined, BOUNDS, 0.5), undefined);
});

test("hits count merged calls, and refused calls count nowhere", () => {
  assert.equal(hitRatio({ memory: 1, disk: 1, merged: 1, miss: 2, uncached: 1, refused: 9 }), 0.5);
  assert.ok(Number.isNaN(hitRatio({ memory: 0, disk: 0, merged: 0, miss: 0, uncached: 0, refused: 1 })));
});

test("quantities have units that people read", () => {
  assert.equal(format.bytes(0), "0 B");
  assert.equal(format.bytes(1536), "1.5 KiB");
  assert.equal(format.bytes(64 * 1024 * 1024), "64 MiB");
  assert.equal(format.duration(0.5), "0.5 µs");
  assert.equal(format.duration(1234), "1.23 ms");
  assert.equal(format.duration(90e6), "1 min 30 s");
  assert.equal(format.duration(3 * 3600e6), "3 h 0 min");
  assert.equal(format.energy(0.000_214), "214 µJ");
  assert.equal(format.energy(15.1), "15.1 J");
  assert.equal(format.percent(Number.NaN), "–");
  assert.equal(format.percent(0.0001), "<0.1 %");
  assert.equal(format.percent(0.9999), ">99.9 %");
  assert.equal(format.rate(0), "0/s");
  assert.equal(format.plural(1, "call"), "1 call");
  assert.equal(format.plural(1200, "call"), "1,200 calls");
});

test("pipelines that call a function come before those that they call", () => {
  const pipeline = (name: string, ...calls: string[]) =>
    ({ name, pipeline: { pinned: Object.fromEntries(calls.map((it) => [it, {}])) } }) as unknown as FunctionVersion;
  const all = [pipeline("a", "f"), pipeline("b", "a"), pipeline("c", "b", "f"), pipeline("d", "g")];
  assert.deepEqual(dependants("f", all, []), ["c", "b", "a"]);
  assert.deepEqual(dependants("f", all, ["old"]), ["c", "b", "a", "old"]);
  assert.deepEqual(dependants("h", all, []), []);
});
