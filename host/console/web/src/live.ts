// The server's counters, followed while there is a session and the page is visible.

import { computed, effect, signal } from "@preact/signals";

import { get } from "./api/request.ts";
import { isSignedIn } from "./api/session.ts";
import type { Counts, ServerStats, Stats } from "./api/wire.ts";
import { poll } from "./poll.ts";
import { activitiesOf, activityOfAll, withSample, withStats } from "./samples.ts";
import type { Sample } from "./stats.ts";

/** The time between two questions. */
const PAUSE_MS = 2_000;

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
  if (!isSignedIn.value) {
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
  history.value = withSample(past, { atUs, counts, server });
  recent.value = withStats(near, sample);
  stats.value = sample;
}

/** Returns the samples of one function in the last seconds, oldest first. */
export function recentOf(name: string): Sample<Counts>[] {
  return recent.peek().flatMap((it) => {
    const counts = it.functions[name];
    return counts ? [{ atUs: it.at_unix_us, counts }] : [];
  });
}

/** The calls of each function in the last seconds, by name. */
export const now = computed(() => activitiesOf(recent.value));

/** The calls of the whole server in the last seconds. */
export const nowAll = computed(() => activityOfAll(recent.value));
