// The input of a function and a button: what a call, and a run of a pipeline step by step, begin with.

import { type Signal, signal, useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useMemo, useRef } from "preact/hooks";

import type { CallBody } from "../answer/call.ts";
import type { Problem } from "../api/problem.ts";
import type { FunctionVersion } from "../api/wire.ts";
import { type PlacedProblem, idOf, shownPlace } from "../form/context.ts";
import { type InputState, TypedInput, newInput } from "../form/input.tsx";
import { EMPTY_PAYLOAD, type Payload, PayloadInput, isSendable } from "../form/payload.tsx";
import { describe } from "../form/docs.ts";
import { type Signature, type Type, answerType, inputType, signatureOf } from "../form/type.ts";
import { blank, bytesOf } from "../form/value.ts";
import { type Json, compact } from "../json.ts";
import { Kept, keyOf } from "../kept.ts";
import { ProblemBox } from "../parts/problem.tsx";

/** The inputs that were entered, so that a look at another view or a deploy doesn't lose them. */
const inputs = new Kept<{ typed: InputState; payload: Signal<Payload> }>(50);

interface CallerProps {
  version: FunctionVersion;
  /** The problem of the last call. */
  problem: Problem | undefined;
  isRunning: boolean;
  /** The name of the button. */
  action: string;
  onRun: (body: CallBody) => void;
  /** Further buttons and switches. */
  children?: ComponentChildren;
}

export function Caller({ version, problem, isRunning, action, onRun, children }: CallerProps): JSX.Element {
  const prefix = useId();
  const key = keyOf(version);
  const signature = useMemo(() => signatureOf(version.signature), [key]);
  const isTyped = version.form === "typed" && !takesPayload(signature);
  const type = useMemo(() => (isTyped && signature ? typeOfInput(signature, version) : undefined), [key, version.digest]);
  const { typed, payload } = useMemo(
    () => inputs.of(key, () => ({ typed: newInput(type ? blank(type) : null), payload: signal(EMPTY_PAYLOAD) })),
    [key],
  );
  const isSound = isTyped ? !typed.isBroken.value : isSendable(payload.value);
  const box = useRef<HTMLDivElement>(null);
  const placed = useSignal<PlacedProblem | undefined>(undefined);

  // A problem with a place is shown at its field, which gets the focus, unless the problem was there
  // before the view.
  const before = useRef(problem);
  useEffect(() => {
    const place = problem?.pointer === undefined ? undefined : shownPlace(prefix, problem.pointer);
    placed.value = place === undefined || !problem ? undefined : { pointer: place, message: message(problem) };
    const isNew = problem !== before.current;
    before.current = problem;
    if (!isNew) return;
    if (place !== undefined) document.getElementById(idOf(prefix, place))?.focus();
    else if (problem) box.current?.focus();
  }, [problem]);

  const run = () => {
    if (!isTyped) onRun(bodyOfPayload(payload.value));
    else onRun(type ? bodyOf(type, typed.document.value, isPlain(signature)) : { isPlain: isPlain(signature) });
  };
  return (
    <form
      class="caller"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (isSound && !isRunning) run();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
      }}
    >
      {problem && (
        <ProblemBox problem={problem} boxRef={box}>
          {placed.value && (
            <button
              type="button"
              class="small"
              onClick={() => document.getElementById(idOf(prefix, placed.value?.pointer ?? ""))?.focus()}
            >
              Go to the field
            </button>
          )}
        </ProblemBox>
      )}
      {type && (
        <TypedInput
          type={type}
          label={inputName(signature)}
          prefix={prefix}
          state={typed}
          problem={placed.value}
        />
      )}
      {!isTyped && <PayloadInput payload={payload} />}
      {isTyped && !type && <p class="muted">This function takes no input.</p>}
      <div class="row actions">
        <button type="submit" class="primary" disabled={isRunning || !isSound}>
          {isRunning ? "Running…" : action}
        </button>
        {children}
      </div>
    </form>
  );
}

/** Returns the sentence that a field shows about a problem. */
function message(problem: Problem): string {
  const { expected, found, hint } = problem;
  if (!expected) return problem.detail;
  return [`Expected ${expected}`, ...(found ? [`found ${found}`] : [])].join(", ") + (hint ? `. ${hint}` : ".");
}

/** Tells whether a pipeline takes bytes as they come. */
function takesPayload(signature: Signature | undefined): boolean {
  return signature?.params[0]?.type.title === "payload";
}

/** Returns the type of a function's document, with the texts of its schema. */
function typeOfInput(signature: Signature, version: FunctionVersion): Type | undefined {
  const type = inputType(signature);
  return type && describe(type, version.input_schema);
}

/** Returns the name of the only parameter, or a word for all of them. */
function inputName(signature: Signature | undefined): string {
  const [first, second] = signature?.params ?? [];
  return first && !second ? first.name : "Input";
}

/** Tells whether the answer is one text or bytes, which are better read as they are. */
function isPlain(signature: Signature | undefined): boolean {
  const kind = signature && answerType(signature)?.kind;
  return kind === "string" || kind === "bytes";
}

function bodyOf(type: Type, document: Json, isPlain: boolean): CallBody {
  const bytes = type.kind === "bytes" && typeof document === "string" ? bytesOf(document) : undefined;
  if (bytes) return { body: bytes, mediaType: "application/octet-stream", isPlain };
  return { body: compact(document), mediaType: "application/json", isPlain };
}

function bodyOfPayload({ mediaType, text, file }: Payload): CallBody {
  return { body: file ?? text, mediaType, isPlain: false };
}
