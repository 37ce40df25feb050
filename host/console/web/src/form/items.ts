// The rows of lists and maps in a form: which row is which, and where the focus goes when one is removed.

import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** The most rows that a form shows at once. */
export const PAGE = 100;

/** A row of a map. */
export interface Row {
  id: number;
  key: string;
}

/**
 * Returns an identity for each item of a list. Call `drop` for a removed item: those after it keep their
 * identity, and with it the values that their fields remember.
 */
export function useIds(length: number): { ids: number[]; drop: (at: number) => void } {
  const held = useRef<{ ids: number[]; next: number }>({ ids: [], next: 0 });
  const { current: all } = held;
  all.ids.length = Math.min(all.ids.length, length);
  while (all.ids.length < length) all.ids.push(all.next++);
  return { ids: [...all.ids], drop: (at) => void all.ids.splice(at, 1) };
}

/**
 * Returns the rows of a map in the order in which they were added. An object has keys that are whole
 * numbers before all others, so its order changes while a key is typed.
 */
export function useRows(keys: string[]): Row[] {
  const held = useRef<{ rows: Row[]; next: number }>({ rows: [], next: 0 });
  const { current: all } = held;
  const has = new Set(keys);
  all.rows = all.rows.filter((row) => has.delete(row.key));
  for (const key of has) all.rows.push({ id: all.next++, key });
  return all.rows;
}

interface Removal<List extends HTMLElement> {
  list: RefObject<List | null>;
  add: RefObject<HTMLButtonElement | null>;
  /** Takes the place of the shown row that is about to go. */
  removing: (at: number) => void;
}

/** Moves the focus from a removed row to the one in its place, or to the button that adds one. */
export function useRemoval<List extends HTMLElement>(): Removal<List> {
  const list = useRef<List>(null);
  const add = useRef<HTMLButtonElement>(null);
  const pending = useRef<number | undefined>(undefined);
  useLayoutEffect(() => {
    const { current: at } = pending;
    if (at === undefined) return;
    pending.current = undefined;
    const buttons = [...(list.current?.querySelectorAll<HTMLElement>(":scope > li > .remove") ?? [])];
    (buttons[at] ?? buttons.at(-1) ?? add.current)?.focus();
  });
  return { list, add, removing: (at) => (pending.current = at) };
}
