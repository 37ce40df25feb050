// Short messages about what has just been done, which a screen reader reads out.

import { signal } from "@preact/signals";
import type { JSX } from "preact";

const SHOWN_MS = 6_000;

const notices = signal<{ id: number; text: string }[]>([]);
let lastId = 0;

/** The dialogs that are open. All else is out of reach, and silent, while there is one. */
export const dialogs = signal(0);

/** Shows a message for some seconds. */
export function notify(text: string): void {
  lastId += 1;
  const id = lastId;
  notices.value = [...notices.value, { id, text }].slice(-3);
  setTimeout(() => {
    notices.value = notices.value.filter((it) => it.id !== id);
  }, SHOWN_MS);
}

/** The messages: of the page, or of a dialog above it. A screen reader reads what is added to it. */
export function Notices({ isInDialog }: { isInDialog: boolean }): JSX.Element {
  const isHeard = isInDialog === dialogs.value > 0;
  return (
    <div class="notices" role="status" aria-live="polite">
      {isHeard && notices.value.map(({ id, text }) => <p key={id}>{text}</p>)}
    </div>
  );
}
