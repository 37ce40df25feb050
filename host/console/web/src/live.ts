// The server's counters, followed while somebody is signed in and the page is visible.

import { computed, effect, signal } from "@preact/signals";

import { get } from "./api/request.ts";
import { session } from "./api/session.ts";
import type { Counts, ServerStats, Stats } from "./api/wire.ts";
import { poll } from "./poll.ts";
import { type Activity, type Sample, activity } from "./stats.ts";

/** The time between two questions. */
export const PAUSE_MS = 2_000;

/** The samples that charts show: ten minutes. */
export const SAMPLES_MAX = 300;

/** The span of "now" in tables, microseconds. */
const NOW_US = 10e6;

/** One sample of the whole server. */
export interface ServerSample extends Sample<Counts> {
  server: ServerStats;
}

/** The newest stats. */
export const stats = signal<Stats | undefined>(undefined);

/** The samples of the whole server, oldest first. */
export const history = signal<ServerSample[]>([]);

/** The stats of the last seconds, to tell what each function does now. */
const recent = signal<Stats[]>([]);

effect(() => {
  if (!session.value) {
    stats.value = undefined;
    history.value = [];
    recent.value = [];
    return undefined;
  }
  return poll(async (stopped) => take(await get<Stats>("/api/v1/stats", stopped)), PAUSE_MS);
});

function take(sample: Stats): void {
  const isRestarted = sample.started_at_unix_us !== (stats.peek()?.started_at_unix_us ?? sample.started_at_unix_us);
  const [past, near] = isRestarted ? [[], []] : [history.peek(), recent.peek()];
  const { at_unix_us: atUs, all: counts, server } = sample;
  history.value = [...past, { atUs, counts, server }].slice(-SAMPLES_MAX);
  recent.value = [...near.filter((it) => atUs - it.at_unix_us <= NOW_US), sample];
  stats.value = sample;
}

/** Returns the samples of one function in the last seconds, oldest first. */
export function recentOf(name: string): Sample<Counts>[] {
  return recent.peek().flatMap((it) => {
    const counts = it.functions[name];
    return counts ? [{ atUs: it.at_unix_us, counts }] : [];
  });
}

/** What each function did in the last seconds, by name. */
export const now = computed<Map<string, Activity>>(() => {
  const [oldest, newest] = [recent.value[0], recent.value.at(-1)];
  if (!oldest || !newest || oldest === newest) return new Map();
  const atBefore = oldest.at_unix_us;
  const activities = Object.entries(newest.functions).map(([name, counts]) => {
    const before = { atUs: atBefore, counts: oldest.functions[name] };
    return [name, activity(before, { atUs: newest.at_unix_us, counts })] as const;
  });
  return new Map(activities);
});

/** What the whole server did in the last seconds. */
export const nowAll = computed<Activity | undefined>(() => {
  const [oldest, newest] = [recent.value[0], recent.value.at(-1)];
  if (!oldest || !newest || oldest === newest) return undefined;
  const before = { atUs: oldest.at_unix_us, counts: oldest.all };
  return activity(before, { atUs: newest.at_unix_us, counts: newest.all });
});
