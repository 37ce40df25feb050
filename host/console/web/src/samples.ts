// Samples of the server's counters over time.
//
// Invariant: a step between two samples tells about a short time. Over a longer one, as after an hour in
// which the page was hidden, there is a gap.

import type { Counts, Stats } from "./api/wire.ts";
import { type Activity, type Sample, activity } from "./stats.ts";

/** The time that charts show. */
const SHOWN_US = 10 * 60e6;

/** The longest time between two samples without a gap. */
const GAP_US = 60e6;

/** The span of "now" in tables. */
const NOW_US = 10e6;

/** The samples over which percentiles are taken: enough calls for a smooth line. */
const SMOOTH = 5;

/** Adds a sample, and drops those that charts don't show any more. */
export function withSample<S extends { atUs: number }>(samples: S[], sample: S): S[] {
  return [...samples.filter((it) => sample.atUs - it.atUs <= SHOWN_US), sample];
}

/** Adds stats to those of the last seconds. The one before stays, however long ago it is. */
export function withStats(recent: Stats[], newest: Stats): Stats[] {
  const near = recent.filter((it) => newest.at_unix_us - it.at_unix_us <= NOW_US);
  return [...(near.length > 0 ? near : recent.slice(-1)), newest];
}

/** A step from one sample to the next. */
export interface Step<S> {
  /** Seconds since the Unix epoch. */
  time: number;
  /** The sample before; absent after a gap. */
  before?: S;
  /** The first of the last few samples, without a gap between them. */
  first?: S;
  sample: S;
}

/** Returns the steps between samples. */
export function stepsOf<S extends { atUs: number }>(samples: S[]): Step<S>[] {
  let start = 0;
  return samples.slice(1).map((sample, at) => {
    const [before, time] = [samples[at], sample.atUs / 1e6];
    const isGap = before === undefined || sample.atUs - before.atUs > GAP_US;
    if (isGap) start = at + 1;
    const first = samples[Math.max(start, at + 1 - SMOOTH)];
    return isGap || first === undefined ? { time, sample } : { time, before, first, sample };
  });
}

/** Returns what each function did between the first and the last of some stats, by name. */
export function activitiesOf(recent: Stats[]): Map<string, Activity> {
  const [oldest, newest] = [recent[0], recent.at(-1)];
  if (!oldest || !newest || oldest === newest) return new Map();
  const activities = Object.entries(newest.functions).map(([name, counts]) => {
    const before: Sample<Counts | undefined> = { atUs: oldest.at_unix_us, counts: oldest.functions[name] };
    return [name, activity(before, { atUs: newest.at_unix_us, counts })] as const;
  });
  return new Map(activities);
}

/** Returns what the whole server did between the first and the last of some stats. */
export function activityOfAll(recent: Stats[]): Activity | undefined {
  const [oldest, newest] = [recent[0], recent.at(-1)];
  if (!oldest || !newest || oldest === newest) return undefined;
  return activity({ atUs: oldest.at_unix_us, counts: oldest.all }, { atUs: newest.at_unix_us, counts: newest.all });
}
