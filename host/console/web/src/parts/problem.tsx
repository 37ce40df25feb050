// An error as its reader needs it: what, where, and what to do.

import type { ComponentChildren, JSX, Ref } from "preact";

import { type PipelineRef, type Problem, Refused, kindOf, sentence } from "../api/problem.ts";
import { functionHref } from "../route.ts";
import { Prose } from "./prose.tsx";

/** Shows any error. */
export function ErrorBox({ error, title }: { error: unknown; title?: string }): JSX.Element {
  if (error instanceof Refused) return <ProblemBox problem={error.problem} {...(title ? { title } : {})} />;
  return (
    <div class="box bad" role="alert">
      <p>
        <strong>{title ?? "This didn't work"}</strong>
      </p>
      <p>
        <Prose text={sentence(error)} />
      </p>
    </div>
  );
}

interface ProblemBoxProps {
  problem: Problem;
  title?: string;
  children?: ComponentChildren;
  boxRef?: Ref<HTMLDivElement>;
}

/** Shows a problem document. */
export function ProblemBox({ problem, title, children, boxRef }: ProblemBoxProps): JSX.Element {
  return (
    <div class="box bad" role="alert" tabIndex={-1} ref={boxRef ?? null}>
      <p>
        <strong>{title ?? titleOf(problem)}</strong>{" "}
        <span class="tag">
          {problem.status} {kindOf(problem)}
        </span>
      </p>
      <p>
        <Prose text={sentence(problem.detail)} />
      </p>
      <Details problem={problem} />
      {children}
    </div>
  );
}

/** Returns a title in words: that of a problem document is the name of its status. */
function titleOf({ status, pointer }: Problem): string {
  if (pointer !== undefined) return "The input doesn't fit the function";
  switch (status) {
    case 403:
      return "Your token may not do this";
    case 404:
      return "Not found";
    case 502:
      return "The function failed";
    case 503:
      return "The server has no room now";
    case 504:
      return "The function took too long";
    default:
      return status >= 500 ? "The server failed" : "The server refused this";
  }
}

/** Shows the members that a kind of problem may have. */
function Details({ problem }: { problem: Problem }): JSX.Element {
  const { pointer, expected, found, hint, reason, backtrace, log_tail: logTail, pipelines } = problem;
  const place = problem.line === undefined ? undefined : `line ${problem.line}, column ${problem.column ?? 1}`;
  const facts = [
    ["Place", pointer === undefined ? place : pointer === "" ? "the whole input" : pointer],
    ["Expected", expected],
    ["Found", found],
    ["Step", problem.step],
    ["Reason", reason],
    ["What to try", hint],
  ].filter((fact): fact is [string, string] => typeof fact[1] === "string" && !problem.detail.includes(fact[1]));
  return (
    <>
      {facts.length > 0 && (
        <dl class="facts">
          {facts.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <code>{value}</code>
              </dd>
            </div>
          ))}
        </dl>
      )}
      {pipelines && <Pipelines pipelines={pipelines} />}
      {backtrace && backtrace.length > 0 && <Backtrace frames={backtrace} />}
      {logTail && <Printed text={logTail} />}
    </>
  );
}

function Pipelines({ pipelines }: { pipelines: PipelineRef[] }): JSX.Element {
  return (
    <>
      <p>These pipelines call it:</p>
      <ul>
        {pipelines.map(({ pipeline, reason }) => (
          <li key={pipeline}>
            <a href={functionHref(pipeline, "steps")}>{pipeline}</a>
            {reason && `: ${reason}`}
          </li>
        ))}
      </ul>
    </>
  );
}

/** Shows the stack of a trap, innermost frame first. */
export function Backtrace({ frames }: { frames: string[] }): JSX.Element {
  return (
    <figure class="backtrace">
      <figcaption>Backtrace, the innermost frame first</figcaption>
      <ol class="code" tabIndex={0}>
        {frames.map((frame, at) => (
          <li key={at}>{frame}</li>
        ))}
      </ol>
    </figure>
  );
}

/** Shows what a function printed. */
export function Printed({ text }: { text: string }): JSX.Element {
  return (
    <figure class="printed">
      <figcaption>Printed by the function</figcaption>
      <pre tabIndex={0}>{text}</pre>
    </figure>
  );
}
