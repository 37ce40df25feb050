// The input of a function and a button: what a call, and a run of a pipeline step by step, begin with.

import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useMemo, useRef } from "preact/hooks";

import type { CallBody } from "../answer/call.ts";
import type { Problem } from "../api/problem.ts";
import type { FunctionVersion } from "../api/wire.ts";
import { type PlacedProblem, idOf, shownPlace } from "../form/context.ts";
import { TypedInput } from "../form/input.tsx";
import { EMPTY_PAYLOAD, type Payload, PayloadInput } from "../form/payload.tsx";
import { describe } from "../form/docs.ts";
import { type Signature, type Type, answerType, inputType, signatureOf } from "../form/type.ts";
import { blank, bytesOf } from "../form/value.ts";
import { type Json, compact } from "../json.ts";
import { ProblemBox } from "../parts/problem.tsx";

/** The inputs that were entered, so that a look at another tab doesn't lose them. */
const documents = new Map<string, Signal<Json>>();
const payloads = new Map<string, Signal<Payload>>();

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
  const signature = useMemo(() => signatureOf(version.signature), [version]);
  const isTyped = version.form === "typed" && !takesPayload(signature);
  const type = useMemo(() => (isTyped && signature ? typeOfInput(signature, version) : undefined), [version]);
  const document = remembered(documents, version, () => (type ? blank(type) : null));
  const payload = remembered(payloads, version, () => EMPTY_PAYLOAD);
  const isBroken = useSignal(false);
  const box = useRef<HTMLDivElement>(null);
  const placed = useSignal<PlacedProblem | undefined>(undefined);

  // A problem with a place is shown at its field, which gets the focus.
  useEffect(() => {
    const place = problem?.pointer === undefined ? undefined : shownPlace(prefix, problem.pointer);
    placed.value = place === undefined || !problem ? undefined : { pointer: place, message: message(problem) };
    if (place !== undefined) globalThis.document.getElementById(idOf(prefix, place))?.focus();
    else if (problem) box.current?.focus();
  }, [problem]);

  const run = () => {
    if (!isTyped) onRun(bodyOfPayload(payload.value));
    else onRun(type ? bodyOf(type, document.value, isPlain(signature)) : { isPlain: isPlain(signature) });
  };
  return (
    <form
      class="caller"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBroken.value && !isRunning) run();
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
              onClick={() => globalThis.document.getElementById(idOf(prefix, placed.value?.pointer ?? ""))?.focus()}
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
          document={document}
          isBroken={isBroken}
          problem={placed.value}
        />
      )}
      {!isTyped && <PayloadInput payload={payload} />}
      {isTyped && !type && <p class="muted">This function takes no input.</p>}
      <div class="row actions">
        <button type="submit" class="primary" disabled={isRunning || isBroken.value}>
          {isRunning ? "Running…" : action}
        </button>
        {children}
      </div>
    </form>
  );
}

function remembered<T>(kept: Map<string, Signal<T>>, version: FunctionVersion, first: () => T): Signal<T> {
  const initial = useSignal<T>(first());
  const key = `${version.name} ${version.digest}`;
  const found = kept.get(key) ?? initial;
  kept.set(key, found);
  return found;
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
