// Files that wait to be deployed: dropped on the page, or chosen.

import { computed, effect, signal } from "@preact/signals";

import { isSignedIn } from "../api/session.ts";

/** A file that the dialog asks about. */
export interface Offer {
  /** Its number: the same file can be offered again after it has changed. */
  id: number;
  file: File;
  /** The name that the deploy starts with. */
  name: string;
}

/** The files that wait, that of the dialog first. */
const offers = signal<Offer[]>([]);
let lastId = 0;

/** The file of the dialog, and the number of those after it. */
export const current = computed(() => offers.value[0]);
export const waiting = computed(() => Math.max(0, offers.value.length - 1));

/** Set while the dialog's file is sent and compiled. */
export const isBusy = signal(false);

effect(() => {
  if (!isSignedIn.value) offers.value = [];
});

/** Asks for a file to deploy, under a name if one is given. */
export function chooseFiles(name?: string): void {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ".wasm,application/wasm";
  // The element has to be in the page for a browser to keep it, and for tests to find it.
  input.hidden = true;
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    input.remove();
    offer(files, name);
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

/** Shows the dialog for files, one after another. A deploy that runs ends before. */
export function offer(files: File[], name?: string): void {
  const added = files.map((file) => ({ id: ++lastId, file, name: name ?? nameFrom(file.name) }));
  const [shown, ...others] = offers.value;
  if (added.length > 0) offers.value = shown && isBusy.value ? [shown, ...others, ...added] : [...added, ...others];
}

/** Ends the dialog of an offer. */
export function close({ id }: Offer): void {
  offers.value = offers.value.filter((it) => it.id !== id);
}

/** Returns a function's name from that of a file: `csv_stats.wasm` gives `csv-stats`. */
export function nameFrom(fileName: string): string {
  const stem = fileName.replace(/\.[^.]*$/, "").toLowerCase();
  return stem.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63);
}
