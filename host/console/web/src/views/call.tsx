// The tab that calls a function.

import { type Signal, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";

import { type Answer, type CallBody, call } from "../answer/call.ts";
import { AnswerContent, AnswerFacts, AnswerSummary } from "../answer/show.tsx";
import { may, server } from "../api/session.ts";
import type { FunctionVersion } from "../api/wire.ts";
import { Kept, keyOf } from "../kept.ts";
import { ErrorBox, ProblemBox } from "../parts/problem.tsx";
import { Caller } from "./caller.tsx";

/** A call: none yet, running, or with its answer. */
interface CallState {
  answer: Signal<Answer | undefined>;
  failure: Signal<unknown>;
  /** The call that runs. */
  running: Signal<AbortController | undefined>;
  wantsReceipt: Signal<boolean>;
  /** The input of the last call. */
  last: CallBody | undefined;
}

/** The last call of each function: a look at another view doesn't lose it, even while it runs. */
const calls = new Kept<CallState>(20);

function newCall(): CallState {
  return {
    answer: signal(undefined),
    failure: signal(undefined),
    running: signal(undefined),
    wantsReceipt: signal(false),
    last: undefined,
  };
}

async function run(state: CallState, name: string, body: CallBody, isFresh: boolean): Promise<void> {
  const { answer, failure, running, wantsReceipt } = state;
  const stop = new AbortController();
  state.last = body;
  running.value = stop;
  try {
    answer.value = await call(name, body, { isFresh, hasReceipt: wantsReceipt.value, signal: stop.signal });
    failure.value = undefined;
  } catch (error) {
    answer.value = undefined;
    failure.value = stop.signal.aborted ? new Error("You stopped waiting for the answer.") : error;
  } finally {
    running.value = undefined;
  }
}

export function CallTab({ version }: { version: FunctionVersion }): JSX.Element {
  const key = keyOf(version);
  const state = useMemo(() => calls.of(key, newCall), [key]);
  const { answer, failure, running, wantsReceipt } = state;
  const isRunning = running.value !== undefined;
  if (!may("invoke")) {
    return <p class="muted">Your token may read, but not call functions. Its scope would have to be “invoke” or “admin”.</p>;
  }
  const { value: shown } = answer;
  // The form shows a mistake in the input; a failure of the function is its answer.
  const isRefused = shown?.problem !== undefined && shown.status < 500;
  return (
    <>
      {version.form === "http" && <HttpNote name={version.name} />}
      <Caller
        version={version}
        problem={isRefused ? shown?.problem : undefined}
        isRunning={isRunning}
        action="Call"
        onRun={(body) => void run(state, version.name, body, false)}
      >
        {isRunning && (
          <button type="button" onClick={() => running.value?.abort()}>
            Stop waiting
          </button>
        )}
        <label class="check">
          <input
            type="checkbox"
            checked={wantsReceipt.value}
            onChange={(event) => (wantsReceipt.value = event.currentTarget.checked)}
          />{" "}
          Ask for a receipt, and keep the input for it
        </label>
        {shown && !isRunning && (
          <button type="button" onClick={() => state.last && void run(state, version.name, state.last, true)}>
            Run again without cache
          </button>
        )}
      </Caller>
      <div aria-live="polite" class="visually-hidden">
        {shown && !isRunning ? `The answer has the status ${shown.status}.` : ""}
      </div>
      {failure.value !== undefined && <ErrorBox error={failure.value} title="No answer" />}
      {shown && !isRefused && (
        <div class="answer">
          <h2>Answer</h2>
          <OldVersion answer={shown} version={version} />
          <AnswerSummary answer={shown} />
          {shown.problem ? (
            <ProblemBox problem={shown.problem} />
          ) : (
            <AnswerContent answer={shown} name={version.name} />
          )}
          <AnswerFacts answer={shown} name={version.name} />
        </div>
      )}
    </>
  );
}

/** Says that an answer is from before the last deploy. */
function OldVersion({ answer, version }: { answer: Answer; version: FunctionVersion }): JSX.Element | null {
  if (!answer.function || answer.function.includes(version.digest)) return null;
  return (
    <p class="box warn" role="status">
      This answer is from another version. The current one is {version.version}: call it again for its answer.
    </p>
  );
}

function HttpNote({ name }: { name: string }): JSX.Element {
  const url = `${server.value?.calls_url ?? ""}/f/${name}/`;
  return (
    <p class="muted">
      This function answers HTTP requests. The console sends it a <code>POST</code>; open{" "}
      <a href={url} target="_blank" rel="noopener noreferrer">
        {url}
      </a>{" "}
      for its own pages.
    </p>
  );
}
