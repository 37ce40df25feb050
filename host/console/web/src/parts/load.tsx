// Values that a view reads: their loading, their errors, and the value itself.

import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect } from "preact/hooks";

import { isTrouble, usePoll } from "../poll.ts";
import { ErrorBox } from "./problem.tsx";

/** The state of something that is read. */
export interface Reading<T> {
  value: T | undefined;
  /** The reason for which the newest attempt failed, unless the page tells it above the view. */
  error: unknown;
  /** Reads again; the value before stays until then. */
  again: () => Promise<void>;
}

/** Reads something when the component is shown, and again when `key` changes. */
export function useReading<T>(ask: () => Promise<T>, key: unknown): Reading<T> {
  const value = useSignal<T | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const again = async () => {
    try {
      value.value = await ask();
      error.value = undefined;
    } catch (reason) {
      error.value = reason;
    }
  };
  useEffect(() => void again(), [key]);
  return { value: value.value, error: error.value, again };
}

/** Reads something again and again while the component is shown, because others may change it. */
export function useFollowing<T>(ask: (stopped: AbortSignal) => Promise<T>, pauseMs: number, key: unknown): Reading<T> {
  const value = useSignal<T | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const read = async (stopped: AbortSignal) => {
    try {
      const found = await ask(stopped);
      if (stopped.aborted) return;
      value.value = found;
      error.value = undefined;
    } catch (reason) {
      if (!stopped.aborted) error.value = reason;
      throw reason;
    }
  };
  usePoll(read, pauseMs, key);
  const again = () => read(new AbortController().signal).catch(() => {});
  const isTold = value.value !== undefined && isTrouble(error.value);
  return { value: value.value, error: isTold ? undefined : error.value, again };
}

interface LoadedProps<T> {
  reading: Reading<T>;
  children: (value: T) => ComponentChildren;
}

/** Shows a value once it is read, and beside it why it can't be read again. */
export function Loaded<T>({ reading, children }: LoadedProps<T>): JSX.Element {
  const { value, error, again } = reading;
  return (
    <>
      {error !== undefined && (
        <div>
          <ErrorBox error={error} title={value === undefined ? "Can't show this" : "This is old and can't be read again"} />
          <button type="button" onClick={() => void again()}>
            Try again
          </button>
        </div>
      )}
      {value === undefined ? error === undefined && <p class="muted">Loading…</p> : children(value)}
    </>
  );
}
