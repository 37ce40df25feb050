// A button that copies a text.

import type { JSX } from "preact";

import { notify } from "./notice.tsx";

export function Copy({ text, what, label = "Copy" }: { text: string; what: string; label?: string }): JSX.Element {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      notify(`Copied ${what}.`);
    } catch {
      // Only a page of this machine may write to the clipboard without HTTPS.
      notify(`The browser doesn't allow copying. Select ${what} and copy it by hand.`);
    }
  };
  return (
    <button type="button" class="small" onClick={() => void copy()} aria-label={`${label} ${what}`}>
      {label}
    </button>
  );
}
