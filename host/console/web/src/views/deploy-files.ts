// Files that wait to be deployed: dropped on the page, or chosen.

import { signal } from "@preact/signals";

/** The file that the dialog asks about. */
export const file = signal<File | undefined>(undefined);

/** The name that the deploy starts with; that of the file if absent. */
export const wantedName = signal<string | undefined>(undefined);

/** Asks for a file to deploy, under a name if one is given. */
export function chooseFiles(name?: string): void {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ".wasm,application/wasm";
  // The element has to be in the page for a browser to keep it, and for tests to find it.
  input.hidden = true;
  input.addEventListener("change", () => {
    const [chosen] = input.files ?? [];
    input.remove();
    if (chosen) offer(chosen, name);
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

/** Shows the dialog for a file. */
export function offer(chosen: File, name?: string): void {
  wantedName.value = name;
  file.value = chosen;
}

/** Returns a function's name from that of a file: `csv_stats.wasm` gives `csv-stats`. */
export function nameFrom(fileName: string): string {
  const stem = fileName.replace(/\.[^.]*$/, "").toLowerCase();
  return stem.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63);
}
