// The functions of the server: the list, read again when it may have changed.

import { effect, signal } from "@preact/signals";

import { get } from "./api/request.ts";
import { isSignedIn } from "./api/session.ts";
import type { FunctionVersion } from "./api/wire.ts";

/** The current version of every function, pipelines too; undefined until they are read. */
export const functions = signal<FunctionVersion[] | undefined>(undefined);

/** Counts the changes that this page made, so that views read again. */
export const changes = signal(0);

/** The time until the list, which holds every schema, is read again for a count alone. */
const OLD_MS = 60_000;

let readAtMs = 0;

effect(() => {
  if (!isSignedIn.value) functions.value = undefined;
});

/** Reads the list. */
export async function load(stopped?: AbortSignal): Promise<FunctionVersion[]> {
  const list = await get<{ functions: FunctionVersion[] }>("/api/v1/functions", stopped);
  functions.value = list.functions.sort((a, b) => (a.name < b.name ? -1 : 1));
  readAtMs = performance.now();
  return functions.value;
}

/** Reads the list unless it is young. */
export async function loadIfOld(): Promise<void> {
  if (functions.peek() === undefined || performance.now() - readAtMs > OLD_MS) await load();
}

/** Tells all views that functions have changed. Their views say so if they can't be read. */
export async function changed(): Promise<void> {
  changes.value += 1;
  await load().catch(() => {});
}

/** Returns a signature without its name, which is the same for all functions. */
export function shortSignature(version: FunctionVersion): string {
  return version.signature.replace(/^handle: func/, "");
}
