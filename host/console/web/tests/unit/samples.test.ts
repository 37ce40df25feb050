import assert from "node:assert/strict";
import { test } from "node:test";

import type { Counts, Stats } from "../../src/api/wire.ts";
import { activitiesOf, activityOfAll, stepsOf, withSample, withStats } from "../../src/samples.ts";

function counts(calls: number): Counts {
  const none = { counts: [calls], sum_us: calls };
  return {
    calls, errors: 0, errors_by_code: {}, cold_starts: 0,
    sources: { memory: 0, disk: 0, merged: 0, miss: calls, uncached: 0, refused: 0 },
    lanes: { fast: 0, compute: 0 }, restarts: 0, input_bytes: 0, output_bytes: 0, saved_us: 0, cpu_us: 0,
    energy_joules: 0, saved_energy_joules: 0, phases: { queue: none, load: none, start: none, run: none },
  };
}

function statsAt(seconds: number, calls: number, names: string[]): Stats {
  const functions = Object.fromEntries(names.map((name) => [name, counts(calls)]));
  return {
    at_unix_us: seconds * 1e6, started_at_unix_us: 0, bucket_bounds_us: [10], server: {} as Stats["server"],
    all: counts(calls * names.length), functions,
  };
}

test("there is a now with 5,000 functions and half a minute between two answers", () => {
  const names = Array.from({ length: 5000 }, (_, at) => `function-${at}`);
  let recent: Stats[] = [];
  for (const [seconds, calls] of [[0, 0], [30, 60], [60, 180]] as const) recent = withStats(recent, statsAt(seconds, calls, names));
  assert.equal(recent.length, 2);
  const now = activitiesOf(recent);
  assert.equal(now.size, 5000);
  assert.deepEqual([now.get("function-4999")?.calls, now.get("function-4999")?.seconds], [120, 30]);
  assert.equal(activityOfAll(recent)?.calls, 120 * 5000);
});

test("now is of the last ten seconds if answers are quick", () => {
  let recent: Stats[] = [];
  for (let seconds = 0; seconds <= 60; seconds += 2) recent = withStats(recent, statsAt(seconds, seconds, ["a"]));
  assert.equal(activitiesOf(recent).get("a")?.seconds, 10);
  assert.equal(activitiesOf(recent.slice(-1)).size, 0);
});

test("charts show ten minutes, whatever the number of samples", () => {
  let samples: { atUs: number }[] = [];
  for (let seconds = 0; seconds < 3600; seconds += 2) samples = withSample(samples, { atUs: seconds * 1e6 });
  assert.equal(samples.length, 301);
  // Samples from before an hour in which the page was hidden are gone.
  samples = withSample(samples, { atUs: 2 * 3600e6 });
  assert.equal(samples.length, 1);
});

test("a gap has no values, and percentiles don't reach over it", () => {
  const samples = [0, 2, 4, 200, 202, 204].map((seconds) => ({ atUs: seconds * 1e6 }));
  const steps = stepsOf(samples);
  assert.deepEqual(steps.map((it) => it.time), [2, 4, 200, 202, 204]);
  assert.deepEqual(steps.map((it) => it.before?.atUs), [0, 2e6, undefined, 200e6, 202e6]);
  assert.deepEqual(steps.map((it) => it.first?.atUs), [0, 0, undefined, 200e6, 200e6]);
});
