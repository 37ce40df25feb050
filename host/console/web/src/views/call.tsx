// The tab that calls a function.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useRef } from "preact/hooks";

import { type Answer, type CallBody, call } from "../answer/call.ts";
import { AnswerContent, AnswerFacts, AnswerSummary } from "../answer/show.tsx";
import { may, server } from "../api/session.ts";
import type { FunctionVersion } from "../api/wire.ts";
import { ErrorBox, ProblemBox } from "../parts/problem.tsx";
import { Caller } from "./caller.tsx";

export function CallTab({ version }: { version: FunctionVersion }): JSX.Element {
  const answer = useSignal<Answer | undefined>(undefined);
  const failure = useSignal<unknown>(undefined);
  const isRunning = useSignal(false);
  const wantsReceipt = useSignal(false);
  const last = useRef<CallBody | undefined>(undefined);
  const stop = useRef<AbortController | undefined>(undefined);

  const run = async (body: CallBody, isFresh: boolean) => {
    last.current = body;
    stop.current = new AbortController();
    isRunning.value = true;
    const options = { isFresh, hasReceipt: wantsReceipt.value, signal: stop.current.signal };
    try {
      answer.value = await call(version.name, body, options);
      failure.value = undefined;
    } catch (error) {
      answer.value = undefined;
      failure.value = stop.current.signal.aborted ? new Error("You stopped waiting for the answer.") : error;
    } finally {
      isRunning.value = false;
    }
  };

  if (!may("invoke")) {
    return <p class="muted">Your token may read, but not call functions. Its scope would have to be “invoke” or “admin”.</p>;
  }
  const { value: shown } = answer;
  // What is wrong with the input is shown at the form; a failure of the function is its answer.
  const isRefused = shown?.problem !== undefined && shown.status < 500;
  return (
    <>
      {version.form === "http" && <HttpNote name={version.name} />}
      <Caller
        version={version}
        problem={isRefused ? shown?.problem : undefined}
        isRunning={isRunning.value}
        action="Call"
        onRun={(body) => void run(body, false)}
      >
        {isRunning.value && (
          <button type="button" onClick={() => stop.current?.abort()}>
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
        {shown && !isRunning.value && (
          <button type="button" onClick={() => last.current && void run(last.current, true)}>
            Run again without cache
          </button>
        )}
      </Caller>
      <div aria-live="polite" class="visually-hidden">
        {shown && !isRunning.value ? `The answer has the status ${shown.status}.` : ""}
      </div>
      {failure.value !== undefined && <ErrorBox error={failure.value} title="No answer" />}
      {shown && !isRefused && (
        <div class="answer">
          <h2>Answer</h2>
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
