// Rates and percentiles from two samples of the server's counters.

import type { Counts, Histogram, Phase, Source } from "./api/wire.ts";
import { duration } from "./format.ts";

/** The counters at one time. */
export interface Sample<T> {
  atUs: number;
  counts: T;
}

/** Returns the growth of a counter. A server that has started again counts from zero. */
function growth(before: number, after: number): number {
  return after >= before ? after - before : after;
}

/** The calls between two samples. */
export interface Activity {
  seconds: number;
  calls: number;
  errors: number;
  coldStarts: number;
  sources: Record<Source, number>;
  watts: number;
  phases: Record<Phase, Histogram>;
}

const SOURCES: Source[] = ["memory", "disk", "merged", "miss", "uncached", "refused"];
const PHASES: Phase[] = ["queue", "load", "start", "run"];

/** Returns what happened between two samples. */
export function activity(before: Sample<Counts | undefined>, after: Sample<Counts>): Activity {
  const seconds = Math.max((after.atUs - before.atUs) / 1e6, 1e-3);
  const [old, now] = [before.counts, after.counts];
  const sources = SOURCES.map((it) => [it, growth(old?.sources[it] ?? 0, now.sources[it])] as const);
  const phases = PHASES.map((it) => [it, grown(old?.phases[it], now.phases[it])] as const);
  return {
    seconds,
    calls: growth(old?.calls ?? 0, now.calls),
    errors: growth(old?.errors ?? 0, now.errors),
    coldStarts: growth(old?.cold_starts ?? 0, now.cold_starts),
    sources: Object.fromEntries(sources) as Record<Source, number>,
    watts: growth(old?.energy_joules ?? 0, now.energy_joules) / seconds,
    phases: Object.fromEntries(phases) as Record<Phase, Histogram>,
  };
}

function grown(before: Histogram | undefined, after: Histogram | undefined): Histogram {
  if (!after) return { counts: [], sum_us: 0 };
  if (!before) return after;
  const counts = after.counts.map((count, at) => growth(before.counts[at] ?? 0, count));
  return { counts, sum_us: growth(before.sum_us, after.sum_us) };
}

/**
 * Returns the duration that a share of the calls doesn't exceed, microseconds; undefined without calls.
 * Calls within a bucket are taken as evenly spread.
 */
export function quantile(histogram: Histogram | undefined, bounds: number[], share: number): number | undefined {
  const counts = histogram?.counts ?? [];
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  const wanted = share * total;
  let seen = 0;
  for (const [at, count] of counts.entries()) {
    if (count > 0 && seen + count >= wanted) {
      const lower = at === 0 ? 0 : (bounds[at - 1] ?? 0);
      const upper = bounds[at];
      // The last bucket has no upper bound.
      return upper === undefined ? lower : lower + (upper - lower) * ((wanted - seen) / count);
    }
    seen += count;
  }
  return bounds.at(-1);
}

/** Writes a quantile; a dash without calls. */
export function quantileText(histogram: Histogram | undefined, bounds: number[], share: number): string {
  const value = quantile(histogram, bounds, share);
  return value === undefined ? "–" : duration(value);
}

/** Returns the share of calls that were answered without running the function; NaN without calls. */
export function hitRatio(sources: Record<Source, number>): number {
  const hits = sources.memory + sources.disk + sources.merged;
  return hits / (hits + sources.miss + sources.uncached);
}
