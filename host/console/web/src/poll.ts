// Repeated questions to the server.
//
// Invariants:
// * A hidden page asks nothing. It asks at once when it is shown again.
// * A question starts only after the one before has been answered.
// * After a failure the pauses grow, up to half a minute; `retry` asks at once.
// * Only its own success ends the trouble of a question.

import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { Refused, sentence } from "./api/problem.ts";
import { session } from "./api/session.ts";

/** The reasons for which questions got no answer of the server, by question. */
const troubles = signal<Map<AbortController, string>>(new Map());

/** The reason for which the server doesn't answer; undefined while it does. */
export const trouble = computed<string | undefined>(() => troubles.value.values().next().value);

const PAUSE_MAX_MS = 30_000;

/** Pollers that wait for their next question. */
const waiting = new Set<() => void>();

/** Asks every waiting question now. */
export function retry(): void {
  for (const ask of [...waiting]) ask();
}

/** Tells whether an error is about the server. Any other is about its question, whose view shows it. */
export function isTrouble(error: unknown): boolean {
  return !(error instanceof Refused) || error.status >= 500;
}

function setTrouble(question: AbortController, reason: string | undefined): void {
  if (troubles.peek().get(question) === reason) return;
  const next = new Map(troubles.peek());
  if (reason === undefined) next.delete(question);
  else next.set(question, reason);
  troubles.value = next;
}

/** Calls `ask` now and then after each pause, until `stop`. Returns `stop`. */
export function poll(ask: (stopped: AbortSignal) => Promise<void>, pauseMs: number): () => void {
  const stopping = new AbortController();
  let [timer, failures] = [0, 0];

  const wait = (ms: number) => {
    clearTimeout(timer);
    waiting.add(again);
    timer = window.setTimeout(again, ms);
  };
  const again = () => {
    clearTimeout(timer);
    waiting.delete(again);
    if (stopping.signal.aborted) return;
    // A page that is shown again calls `again`.
    if (document.visibilityState === "hidden") waiting.add(again);
    else void run();
  };
  const run = async () => {
    const started = performance.now();
    let pause;
    try {
      await ask(stopping.signal);
      failures = 0;
      setTrouble(stopping, undefined);
      // A server with thousands of functions has much to tell: asking takes at most a tenth of the time.
      pause = Math.max(pauseMs, 9 * (performance.now() - started));
    } catch (error) {
      if (stopping.signal.aborted || session.value === null) return;
      failures += 1;
      pause = Math.min(pauseMs * 2 ** failures, PAUSE_MAX_MS);
      setTrouble(stopping, isTrouble(error) ? sentence(error) : undefined);
    }
    if (!stopping.signal.aborted) wait(pause);
  };
  again();
  return () => {
    stopping.abort();
    clearTimeout(timer);
    waiting.delete(again);
    setTrouble(stopping, undefined);
  };
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") retry();
});

/** Polls while the component is shown and `ask` is there. A change of `key` starts again. */
export function usePoll(ask: ((stopped: AbortSignal) => Promise<void>) | undefined, pauseMs: number, key: unknown): void {
  useEffect(() => (ask ? poll(ask, pauseMs) : undefined), [key, ask === undefined]);
}
