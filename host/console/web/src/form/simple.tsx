// The fields of simple types: one input each.

import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";

import { bytes as size } from "../format.ts";
import type { Json } from "../json.ts";
import { Markdown } from "../parts/markdown.tsx";
import { type FieldIds, useField } from "./context.ts";
import { FileButton, textOf } from "./file.tsx";
import { type Type, typeText } from "./type.ts";
import { base64Of, bytesIn, mistakeIn, numberFrom, numberText } from "./value.ts";

export interface FieldProps {
  type: Type;
  value: Json;
  pointer: string;
  label: string;
  onChange: (value: Json) => void;
}

/** The longest base64 that is shown, characters: longer bytes come from a file. */
const BASE64_SHOWN_MAX = 4_000;

/** The longest text that is shown, characters. */
const TEXT_SHOWN_MAX = 200_000;

/** A field of one input, with its label, type, documentation and mistake. */
export function SimpleField(props: FieldProps): JSX.Element {
  const { type, value, pointer, label } = props;
  const ids = useField(pointer, type.docs !== undefined, mistakeIn(type, value));
  if (type.kind === "bool") return <BoolField {...props} ids={ids} />;
  return (
    <div class="field">
      <div class="field-head">
        <label for={ids.id}>{label}</label> <code class="type">{typeText(type)}</code>
        <FromFile {...props} />
      </div>
      <Texts type={type} ids={ids} />
      <Input {...props} ids={ids} />
    </div>
  );
}

/** The documentation and the mistake of a field. */
export function Texts({ type, ids }: { type: Type; ids: FieldIds }): JSX.Element {
  return (
    <>
      {type.docs && (
        <div class="docs" id={ids.docsId}>
          <Markdown text={type.docs} under={2} />
        </div>
      )}
      {ids.mistake && (
        <p class="mistake" id={ids.mistakeId}>
          {ids.mistake}
        </p>
      )}
    </>
  );
}

type WithIds = FieldProps & { ids: FieldIds };

function BoolField({ type, value, label, onChange, ids }: WithIds): JSX.Element {
  return (
    <div class="field">
      <div class="field-head">
        <label class="check">
          <input
            id={ids.id}
            type="checkbox"
            checked={value === true}
            onChange={(event) => onChange(event.currentTarget.checked)}
            {...ids.described}
          />{" "}
          {label}
        </label>{" "}
        <code class="type">{typeText(type)}</code>
      </div>
      <Texts type={type} ids={ids} />
    </div>
  );
}

function Input(props: WithIds): ComponentChildren {
  const { type, value, onChange, ids } = props;
  switch (type.kind) {
    case "integer":
    case "float":
      return (
        <input
          id={ids.id}
          class="number"
          // The keys of a phone for digits have no minus.
          inputMode={type.kind === "integer" && type.min === 0n ? "numeric" : "text"}
          autocomplete="off"
          spellcheck={false}
          value={numberText(value)}
          onInput={(event) => onChange(numberFrom(event.currentTarget.value))}
          {...ids.described}
        />
      );
    case "char":
      return (
        <input
          id={ids.id}
          class="char"
          autocomplete="off"
          spellcheck={false}
          value={String(value)}
          onInput={(event) => onChange(event.currentTarget.value)}
          {...ids.described}
        />
      );
    case "enum":
      return <Choice ids={ids} names={type.names} value={String(value)} onChange={onChange} />;
    case "bytes":
      return <BytesInput {...props} />;
    default:
      return <TextInput {...props} />;
  }
}

interface ChoiceProps {
  ids: FieldIds;
  names: string[];
  value: string;
  onChange: (name: string) => void;
}

/** A choice of one name. A value that isn't one of the names stays visible. */
export function Choice({ ids, names, value, onChange }: ChoiceProps): JSX.Element {
  const isKnown = names.includes(value);
  return (
    <select id={ids.id} value={value} onChange={(event) => onChange(event.currentTarget.value)} {...ids.described}>
      {!isKnown && <option value={value}>{value || "(none)"}</option>}
      {names.map((name) => (
        <option key={name} value={name}>
          {name}
        </option>
      ))}
    </select>
  );
}

/** Reads a text or bytes from a file. */
function FromFile({ type, label, onChange }: FieldProps): JSX.Element | null {
  const read = {
    string: async (file: File) => onChange(await textOf(file)),
    bytes: async (file: File) => onChange(base64Of(new Uint8Array(await file.arrayBuffer()))),
  };
  if (type.kind !== "string" && type.kind !== "bytes") return null;
  return (
    <FileButton label={`From a file: ${label}`} onFile={read[type.kind]}>
      From a file
    </FileButton>
  );
}

function TextInput({ value, onChange, ids }: WithIds): JSX.Element {
  const text = String(value);
  // An area has line feeds alone. A text whose lines end otherwise keeps its line ends.
  const isCrlf = /\r\n/.test(text) && !/(^|[^\r])\n/.test(text);
  const change = (next: string) => onChange(isCrlf ? next.replace(/\r?\n/g, "\r\n") : next);
  const isLong = text.length > TEXT_SHOWN_MAX;
  return (
    <>
      <textarea
        id={ids.id}
        rows={1}
        class="grows"
        spellcheck={false}
        readOnly={isLong}
        value={isLong ? `${text.slice(0, 1000)}…` : text.replace(/\r\n?/g, "\n")}
        onInput={(event) => change(event.currentTarget.value)}
        {...ids.described}
      />
      {isLong && <p class="muted">{size(new Blob([text]).size)}. The field shows only the beginning.</p>}
      {isLong && (
        <button type="button" class="small" onClick={() => onChange("")}>
          Clear
        </button>
      )}
    </>
  );
}

function BytesInput({ value, onChange, ids }: WithIds): JSX.Element {
  const text = String(value);
  const length = useMemo(() => bytesIn(text), [text]);
  const isShown = text.length <= BASE64_SHOWN_MAX;
  return (
    <>
      {isShown ? (
        <textarea
          id={ids.id}
          rows={1}
          class="grows code"
          spellcheck={false}
          placeholder="base64"
          value={text}
          onInput={(event) => onChange(event.currentTarget.value.trim())}
          {...ids.described}
        />
      ) : (
        <input id={ids.id} readOnly value={`${text.slice(0, 40)}…`} class="code" {...ids.described} />
      )}
      <div class="row">
        <span class="muted">{length === undefined ? "This isn't base64." : size(length)}</span>
        {text !== "" && (
          <button type="button" class="small" onClick={() => onChange("")}>
            Clear
          </button>
        )}
      </div>
    </>
  );
}
