// JSON as a tree whose branches open and close. The items of a branch are made when it is opened first.

import type { JSX } from "preact";
import { useSignal } from "@preact/signals";

import { plural } from "../format.ts";
import { type Json, isNumber, isObject } from "../json.ts";

/** The depth to which a tree is open at first. */
const OPEN_DEPTH = 3;

/** The most items of a list that are shown at once. */
const ITEMS_MAX = 100;

/** The longest text of a value that is shown, characters. */
const TEXT_MAX = 2_000;

export function Tree({ value }: { value: Json }): JSX.Element {
  return (
    <div class="tree code" tabIndex={0} role="group" aria-label="JSON">
      <Node value={value} depth={0} />
    </div>
  );
}

function Node({ name, value, depth }: { name?: string; value: Json; depth: number }): JSX.Element {
  const key = name === undefined ? null : <span class="key">{name}: </span>;
  const isOpened = useSignal(depth < OPEN_DEPTH);
  const isList = Array.isArray(value);
  if (!isList && !isObject(value)) {
    return (
      <div>
        {key}
        <Scalar value={value} />
      </div>
    );
  }
  const length = isList ? value.length : Object.keys(value).length;
  if (length === 0) {
    return (
      <div>
        {key}
        {isList ? "[]" : "{}"}
      </div>
    );
  }
  return (
    <details open={depth < OPEN_DEPTH} onToggle={(event) => (isOpened.value ||= event.currentTarget.open)}>
      <summary>
        {key}
        <span class="muted">{plural(length, isList ? "item" : "member")}</span>
      </summary>
      {isOpened.value && <Branch value={value} depth={depth} />}
    </details>
  );
}

function Branch({ value, depth }: { value: Json[] | Record<string, Json>; depth: number }): JSX.Element {
  const shown = useSignal(ITEMS_MAX);
  const entries = Object.entries(value);
  return (
    <div class="branch">
      {entries.slice(0, shown.value).map(([name, item]) => (
        <Node key={name} name={name} value={item} depth={depth + 1} />
      ))}
      {entries.length > shown.value && (
        <button type="button" class="small" onClick={() => (shown.value += ITEMS_MAX)}>
          Show {Math.min(ITEMS_MAX, entries.length - shown.value)} more of {entries.length}
        </button>
      )}
    </div>
  );
}

function Scalar({ value }: { value: Json }): JSX.Element {
  if (typeof value === "string") {
    const text = value.length > TEXT_MAX ? `${value.slice(0, TEXT_MAX)}…` : value;
    return <span class="value-string">{JSON.stringify(text)}</span>;
  }
  if (isNumber(value)) return <span class="value-number">{value.toString()}</span>;
  return <span class="value-word">{String(value)}</span>;
}
