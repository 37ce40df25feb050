// The functions of the server: the list, read again when it may have changed.

import { computed, signal } from "@preact/signals";

import { get } from "./api/request.ts";
import type { FunctionVersion } from "./api/wire.ts";

/** The current version of every function, pipelines too; undefined until they are read. */
export const functions = signal<FunctionVersion[] | undefined>(undefined);

/** Counts the changes that this page made, so that views read again. */
export const changes = signal(0);

export const pipelines = computed(() => functions.value?.filter((it) => it.pipeline !== undefined));

/** Reads the list. */
export async function load(stopped?: AbortSignal): Promise<void> {
  const list = await get<{ functions: FunctionVersion[] }>("/api/v1/functions", stopped);
  functions.value = list.functions.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Tells all views that functions have changed. */
export async function changed(): Promise<void> {
  changes.value += 1;
  await load();
}
