// The input of a typed function: a form, and its JSON beside it.
//
// The document is the state of both. The text of the JSON is kept besides while it can't be read.

import { type Signal, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useId, useRef } from "preact/hooks";

import { type Json, read, write } from "../json.ts";
import { FormContext, type PlacedProblem } from "./context.ts";
import { Field } from "./fields.tsx";
import type { Type } from "./type.ts";

/** The longest JSON that can be edited, characters. */
const TEXT_MAX = 200_000;

interface TypedInputProps {
  type: Type;
  label: string;
  /** The beginning of the fields' ids. */
  prefix: string;
  document: Signal<Json>;
  /** Set while the JSON can't be read. */
  isBroken: Signal<boolean>;
  problem: PlacedProblem | undefined;
}

export function TypedInput({ type, label, prefix, document, isBroken, problem }: TypedInputProps): JSX.Element {
  const text = useSignal(write(document.value));
  const setByForm = (value: Json) => {
    document.value = value;
    text.value = write(value);
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
      <JsonText document={document} text={text} isBroken={isBroken} />
    </div>
  );
}

interface JsonTextProps {
  document: Signal<Json>;
  text: Signal<string>;
  isBroken: Signal<boolean>;
}

function JsonText({ document, text, isBroken }: JsonTextProps): JSX.Element {
  const area = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const found = isBroken.value ? read(text.value) : undefined;
  const mistake = found?.mistake;
  const edit = (next: string) => {
    text.value = next;
    const result = read(next);
    isBroken.value = result.mistake !== undefined;
    if (!result.mistake) document.value = result.value;
  };
  const goToMistake = () => {
    if (!mistake || !area.current) return;
    const lines = text.value.split("\n").slice(0, mistake.line - 1);
    const at = lines.reduce((sum, line) => sum + line.length + 1, mistake.column - 1);
    area.current.focus();
    area.current.setSelectionRange(at, at + 1);
  };
  const isLong = text.value.length > TEXT_MAX;
  return (
    <div class="json-pane">
      <div class="field-head">
        <label for={id}>JSON</label>
      </div>
      <textarea
        id={id}
        ref={area}
        class="code grows"
        spellcheck={false}
        readOnly={isLong}
        value={isLong ? `${text.value.slice(0, 2000)}…` : text.value}
        onInput={(event) => edit(event.currentTarget.value)}
        aria-invalid={mistake ? "true" : undefined}
        aria-describedby={mistake ? `${id}:mistake` : undefined}
      />
      {isLong && <p class="muted">This JSON is too long to edit here. Only its beginning is shown.</p>}
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
