// The input of a typed function: a form, and its JSON beside it.
//
// The document is the state of both. The text of the JSON is kept besides while it can't be read.

import { type Signal, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useId, useRef } from "preact/hooks";

import { type Json, lengthOf, read, write } from "../json.ts";
import { FormContext, type PlacedProblem } from "./context.ts";
import { Field } from "./fields.tsx";
import type { Type } from "./type.ts";

/** The longest JSON that can be edited, characters. */
const TEXT_MAX = 200_000;

/** The state of a typed input. */
export interface InputState {
  document: Signal<Json>;
  /** The text of the JSON; undefined if it is too long to be edited. */
  text: Signal<string | undefined>;
  /** Set while the text can't be read. */
  isBroken: Signal<boolean>;
}

export function newInput(document: Json): InputState {
  return { document: signal(document), text: signal(textOf(document)), isBroken: signal(false) };
}

/** Returns the text of a document, unless it is long: then each change would write megabytes. */
function textOf(document: Json): string | undefined {
  return lengthOf(document, TEXT_MAX) > TEXT_MAX ? undefined : write(document);
}

interface TypedInputProps {
  type: Type;
  label: string;
  /** The beginning of the fields' ids. */
  prefix: string;
  state: InputState;
  problem: PlacedProblem | undefined;
}

export function TypedInput({ type, label, prefix, state, problem }: TypedInputProps): JSX.Element {
  const { document, text, isBroken } = state;
  const setByForm = (value: Json) => {
    document.value = value;
    text.value = textOf(value);
    isBroken.value = false;
  };
  return (
    <div class="input-panes">
      <FormContext.Provider value={{ prefix, problem }}>
        <div class="form-pane">
          {isBroken.value && (
            <p class="muted">The form shows the last JSON that could be read. A change here replaces the JSON.</p>
          )}
          <Field type={type} label={label} value={document.value} pointer="" onChange={setByForm} />
        </div>
      </FormContext.Provider>
      <JsonText state={state} />
    </div>
  );
}

function JsonText({ state: { document, text, isBroken } }: { state: InputState }): JSX.Element {
  const area = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const shown = text.value;
  const mistake = isBroken.value && shown !== undefined ? read(shown).mistake : undefined;
  const edit = (next: string) => {
    text.value = next;
    const result = read(next);
    isBroken.value = result.mistake !== undefined;
    if (!result.mistake) document.value = result.value;
  };
  const goToMistake = () => {
    if (!mistake || !area.current || shown === undefined) return;
    const lines = shown.split("\n").slice(0, mistake.line - 1);
    const at = lines.reduce((sum, line) => sum + line.length + 1, mistake.column - 1);
    area.current.focus();
    area.current.setSelectionRange(at, at + 1);
  };
  return (
    <div class="json-pane">
      <div class="field-head">{shown === undefined ? <span>JSON</span> : <label for={id}>JSON</label>}</div>
      {shown === undefined ? (
        <p class="muted">
          This JSON is too long to show and edit here. The form changes it.
        </p>
      ) : (
        <textarea
          id={id}
          ref={area}
          class="code grows"
          spellcheck={false}
          value={shown}
          onInput={(event) => edit(event.currentTarget.value)}
          aria-invalid={mistake ? "true" : undefined}
          aria-describedby={mistake ? `${id}:mistake` : undefined}
        />
      )}
      {mistake && (
        <p class="mistake" id={`${id}:mistake`} role="status">
          Line {mistake.line}, column {mistake.column}: {mistake.message}.{" "}
          <button type="button" class="small" onClick={goToMistake}>
            Go there
          </button>
        </p>
      )}
    </div>
  );
}
