// The tab of a pipeline: its drawing, and a run shown step by step.

import { type Signal, signal } from "@preact/signals";
import type { JSX, Ref } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";

import type { CallBody } from "../answer/call.ts";
import { Tree } from "../answer/tree.tsx";
import { type Problem, Refused } from "../api/problem.ts";
import { succeed } from "../api/request.ts";
import { may } from "../api/session.ts";
import type { Explanation, FunctionVersion, StepExplanation } from "../api/wire.ts";
import { duration, plural } from "../format.ts";
import { read } from "../json.ts";
import { Kept, keyOf } from "../kept.ts";
import { ErrorBox } from "../parts/problem.tsx";
import { Caller } from "./caller.tsx";
import { Diagram, type Mark } from "./diagram.tsx";

/** A run: none yet, running, or with its steps. */
interface RunState {
  run: Signal<Explanation | undefined>;
  problem: Signal<Problem | undefined>;
  failure: Signal<unknown>;
  isRunning: Signal<boolean>;
  /** The step that is looked at. */
  at: Signal<number>;
}

/** The last run of each pipeline: a look at another view doesn't lose it. */
const runs = new Kept<RunState>(20);

function newRun(): RunState {
  return {
    run: signal(undefined),
    problem: signal(undefined),
    failure: signal(undefined),
    isRunning: signal(false),
    at: signal(0),
  };
}

async function explain({ run, problem, failure, isRunning, at }: RunState, name: string, body: CallBody): Promise<void> {
  isRunning.value = true;
  const headers: Record<string, string> = body.mediaType ? { "content-type": body.mediaType } : {};
  const options = { headers, ...(body.body === undefined ? {} : { body: body.body }) };
  try {
    const response = await succeed("POST", `/api/v1/functions/${encodeURIComponent(name)}/explain`, options);
    run.value = (await response.json()) as Explanation;
    at.value = 0;
    [problem.value, failure.value] = [undefined, undefined];
  } catch (error) {
    run.value = undefined;
    if (error instanceof Refused) [problem.value, failure.value] = [error.problem, undefined];
    else [problem.value, failure.value] = [undefined, error];
  } finally {
    isRunning.value = false;
  }
}

export function StepsTab({ version }: { version: FunctionVersion }): JSX.Element {
  const key = keyOf(version);
  const state = useMemo(() => runs.of(key, newRun), [key]);
  const { run, problem, failure, isRunning, at } = state;
  const { value: shown } = run;
  const heading = useRef<HTMLHeadingElement>(null);
  const before = useRef(shown);
  useEffect(() => {
    // A run that was there before the view takes no focus.
    if (shown !== before.current) heading.current?.focus();
    before.current = shown;
  }, [shown]);
  const marks = useMemo(() => marksOf(shown?.steps ?? []), [shown]);
  return (
    <>
      {version.pipeline && (
        <Diagram
          name={version.name}
          version={version.version}
          marks={marks}
          selected={shown?.steps[at.value]?.step}
        />
      )}
      <h2>Run it step by step</h2>
      {may("invoke") ? (
        <Caller
          version={version}
          problem={problem.value}
          isRunning={isRunning.value}
          action="Run step by step"
          onRun={(body) => void explain(state, version.name, body)}
        />
      ) : (
        <p class="muted">Your token may read, but not run pipelines. Its scope would have to be “invoke” or “admin”.</p>
      )}
      {failure.value !== undefined && <ErrorBox error={failure.value} title="No answer" />}
      {shown && <Run run={shown} at={at.value} heading={heading} onMove={(next) => (at.value = next)} />}
    </>
  );
}

/** Returns the state of each step by its label. A step with several calls ran if one of them ran. */
function marksOf(steps: StepExplanation[]): Map<string, Mark> {
  const marks = new Map<string, Mark>();
  for (const { step, cache, failed } of steps) {
    const mark: Mark = failed ? "failed" : cache === "miss" ? "ran" : "hit";
    const before = marks.get(step);
    if (before !== "failed" && !(before === "ran" && mark === "hit")) marks.set(step, mark);
  }
  return marks;
}

const CACHES = { hit: "cached in memory", disk: "cached on disk", miss: "ran" };
const OUTCOMES = { ok: "The pipeline returned its answer", error: "The pipeline returned its own error", failed: "The pipeline failed" };

interface RunProps {
  run: Explanation;
  at: number;
  heading: Ref<HTMLHeadingElement>;
  onMove: (at: number) => void;
}

function Run({ run, at, heading, onMove }: RunProps): JSX.Element {
  const step = run.steps[at];
  return (
    <section class="run" aria-labelledby="run">
      <h3 id="run" tabIndex={-1} ref={heading}>
        {OUTCOMES[run.outcome]} after {duration(run.took_us)}
      </h3>
      <Value title="Answer" text={run.output} />
      {step && (
        <>
          <div class="row spread">
            <h3>
              Step {at + 1} of {run.steps.length}: {step.step}
            </h3>
            <div class="row">
              <button type="button" disabled={at === 0} onClick={() => onMove(at - 1)}>
                ← Previous step
              </button>
              <button type="button" disabled={at + 1 >= run.steps.length} onClick={() => onMove(at + 1)}>
                Next step →
              </button>
            </div>
          </div>
          <p class="row" role="status">
            <span class={`tag ${step.failed ? "bad" : step.cache === "miss" ? "" : "good"}`}>
              {step.failed ? "failed" : CACHES[step.cache]}
            </span>{" "}
            {duration(step.took_us)}
          </p>
          <div class="columns">
            <Value title="Input of the step" text={step.input} />
            <Value title={step.failed ? "Error of the step" : "Output of the step"} text={step.output} />
          </div>
        </>
      )}
      <Steps steps={run.steps} at={at} onMove={onMove} />
    </section>
  );
}

function Steps({ steps, at, onMove }: { steps: StepExplanation[]; at: number; onMove: (at: number) => void }) {
  const longest = Math.max(1, ...steps.map((it) => it.took_us));
  return (
    <>
      <h3>{plural(steps.length, "call")}, in the order in which they ended</h3>
      <ol class="steps">
        {steps.map((it, index) => (
          <li key={index}>
            <button type="button" class="step" aria-pressed={index === at} onClick={() => onMove(index)}>
              <span class="step-name">{it.step}</span>
              <span class="step-bar" aria-hidden="true">
                <span
                  class={it.failed ? "failed" : it.cache === "miss" ? "ran" : "hit"}
                  style={{ width: `${Math.max(1, (100 * it.took_us) / longest)}%` }}
                />
              </span>
              <span class="step-time">{duration(it.took_us)}</span>
              <span class="step-cache">{it.failed ? "failed" : CACHES[it.cache]}</span>
            </button>
          </li>
        ))}
      </ol>
    </>
  );
}

/** A value of a run: JSON, text, or a note about bytes. */
function Value({ title, text }: { title: string; text: string }): JSX.Element {
  const found = useMemo(() => read(text), [text]);
  const isTree = !found.mistake && typeof found.value === "object" && found.value !== null;
  return (
    <section>
      <h4>{title}</h4>
      {isTree ? <Tree value={found.value} /> : <pre tabIndex={0} aria-label={title}>{text}</pre>}
    </section>
  );
}
