// The log of calls, followed live: what functions printed, and how calls failed.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { get } from "../api/request.ts";
import type { LoggedCall } from "../api/wire.ts";
import { clock, count, duration, plural } from "../format.ts";
import { Backtrace, ErrorBox } from "../parts/problem.tsx";
import { Prose } from "../parts/prose.tsx";
import { isTrouble, usePoll } from "../poll.ts";
import { functionHref } from "../route.ts";

const PAUSE_MS = 1_000;

/** The most calls that are kept, the most characters in them, and the most calls that are shown at once. */
const KEPT_MAX = 5_000;
const KEPT_CHARS_MAX = 16_000_000;
const SHOWN_MAX = 200;

interface LogProps {
  /** The function; all if absent. */
  name?: string;
  /** Set to show only calls that failed. */
  onlyFailures: boolean;
}

export function Log({ name, onlyFailures }: LogProps): JSX.Element {
  const calls = useSignal<LoggedCall[] | undefined>(undefined);
  const isPaused = useSignal(false);
  const filter = useSignal("");
  const failures = useSignal(onlyFailures);
  const error = useSignal<unknown>(undefined);

  const ask = async (stopped: AbortSignal) => {
    const known = calls.peek() ?? [];
    const after = known.at(-1)?.at_unix_us ?? 0;
    const base = name === undefined ? "/api/v1/logs" : `/api/v1/functions/${encodeURIComponent(name)}/logs`;
    try {
      const logs = await get<{ calls: LoggedCall[] }>(`${base}?after_unix_us=${after}`, stopped);
      if (stopped.aborted) return;
      error.value = undefined;
      if (logs.calls.length > 0 || calls.peek() === undefined) calls.value = newest([...known, ...logs.calls]);
    } catch (reason) {
      if (!stopped.aborted) error.value = reason;
      throw reason;
    }
  };
  usePoll(isPaused.value ? undefined : ask, PAUSE_MS, name);

  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = (calls.value ?? []).filter((it) => !failures.value || it.outcome !== "ok");
  const found = wanted.filter((it) => words.every((word) => textOf(it).includes(word)));
  const shown = found.slice(-SHOWN_MAX).reverse();
  return (
    <>
      <div class="row spread">
        <label class="search">
          <span class="visually-hidden">Filter the log</span>
          <input
            type="search"
            placeholder="Filter by function, text or error"
            value={filter.value}
            onInput={(event) => (filter.value = event.currentTarget.value)}
          />
        </label>
        <div class="row">
          {!onlyFailures && (
            <label class="check">
              <input
                type="checkbox"
                checked={failures.value}
                onChange={(event) => (failures.value = event.currentTarget.checked)}
              />{" "}
              Only failures
            </label>
          )}
          <button type="button" onClick={() => (isPaused.value = !isPaused.value)}>
            {isPaused.value ? "Resume" : "Pause"}
          </button>
        </div>
      </div>
      <p class="muted">
        <span class={isPaused.value ? "dot" : "dot live"} aria-hidden="true" />{" "}
        {isPaused.value ? "Paused." : "Following."} {plural(found.length, onlyFailures ? "failed call" : "call")}
        {found.length > SHOWN_MAX && `, the newest ${count(SHOWN_MAX)} of which are shown`}. The newest is first.
      </p>
      {error.value !== undefined && (calls.value === undefined || !isTrouble(error.value)) && <ErrorBox error={error.value} />}
      {calls.value !== undefined && shown.length === 0 && (
        <p class="empty">
          {words.length > 0
            ? "No call has these words."
            : onlyFailures
              ? "No call has failed, as far as the log goes back."
              : "No call has printed anything or failed yet. New entries appear here by themselves."}
        </p>
      )}
      <ol class="log" aria-label={onlyFailures ? "Failed calls" : "Log of calls"}>
        {shown.map((it) => (
          <Entry key={it.at_unix_us} call={it} hasName={name === undefined} />
        ))}
      </ol>
    </>
  );
}

export function LogTab({ name }: { name: string }): JSX.Element {
  return <Log name={name} onlyFailures={false} />;
}

function Entry({ call, hasName }: { call: LoggedCall; hasName: boolean }): JSX.Element {
  const isOk = call.outcome === "ok";
  return (
    <li class={isOk ? "entry" : "entry failed"}>
      <p class="entry-head">
        <time dateTime={new Date(call.at_unix_us / 1000).toISOString()}>{clock(call.at_unix_us)}</time>
        {hasName && <a href={functionHref(call.function, "log")}>{call.function}</a>}
        <span class="muted">{call.version}</span>
        <span class="muted">{duration(call.duration_us)}</span>
        <span class={isOk ? "tag good" : "tag bad"}>{isOk ? "ok" : "failed"}</span>
        {call.request_id && <code class="muted request">{call.request_id}</code>}
      </p>
      {!isOk && <p class="outcome"><Prose text={call.outcome} /></p>}
      {call.output !== "" && (
        <pre tabIndex={0} aria-label="Printed">
          {call.output.replace(/\n$/, "")}
        </pre>
      )}
      {call.backtrace && call.backtrace.length > 0 && (
        <details>
          <summary>Backtrace</summary>
          <Backtrace frames={call.backtrace} />
        </details>
      )}
    </li>
  );
}

const texts = new WeakMap<LoggedCall, string>();

/** Returns the text of a call that a filter looks at. */
function textOf(call: LoggedCall): string {
  const known = texts.get(call);
  if (known !== undefined) return known;
  const text = `${call.function} ${call.version} ${call.outcome} ${call.output} ${call.request_id ?? ""}`.toLowerCase();
  texts.set(call, text);
  return text;
}

/** Returns the newest calls that the page keeps. */
function newest(calls: LoggedCall[]): LoggedCall[] {
  let [from, chars] = [calls.length, 0];
  while (from > 0 && calls.length - from < KEPT_MAX) {
    const call = calls[from - 1];
    chars += 200 + (call?.output.length ?? 0) + (call?.outcome.length ?? 0) + (call?.backtrace?.join().length ?? 0);
    if (chars > KEPT_CHARS_MAX && from < calls.length) break;
    from -= 1;
  }
  return calls.slice(from);
}
