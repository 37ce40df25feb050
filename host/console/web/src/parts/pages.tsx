// A long list, a page at a time.

import type { JSX } from "preact";

import { count } from "../format.ts";

interface PagesProps {
  /** The name of the list. */
  what: string;
  /** The first item that is shown. */
  from: number;
  size: number;
  total: number;
  onMove: (from: number) => void;
}

export function Pages({ what, from, size, total, onMove }: PagesProps): JSX.Element | null {
  if (total <= size) return null;
  const to = Math.min(from + size, total);
  return (
    <nav class="pages" aria-label={`Pages of ${what}`}>
      <button type="button" disabled={from === 0} onClick={() => onMove(Math.max(0, from - size))}>
        ← Previous
      </button>
      <span>
        {count(from + 1)}–{count(to)} of {count(total)}
      </span>
      <button type="button" disabled={to >= total} onClick={() => onMove(from + size)}>
        Next →
      </button>
    </nav>
  );
}
