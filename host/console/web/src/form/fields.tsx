// The fields of a form for any type. A field of a compound type holds the fields of its parts.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useContext, useRef } from "preact/hooks";

import { type Json, compact, isObject } from "../json.ts";
import { notify } from "../parts/notice.tsx";
import { Pages } from "../parts/pages.tsx";
import { FormContext, idOf, useField } from "./context.ts";
import { PAGE, useIds, useRemoval, useRows } from "./items.ts";
import { Choice, type FieldProps, SimpleField, Texts } from "./simple.tsx";
import { type Type, typeText } from "./type.ts";
import { blank, blankCase, caseOf, fits, memberPointer } from "./value.ts";

type PropsOf<Kind extends Type["kind"]> = FieldProps & { type: Extract<Type, { kind: Kind }> };

/** A field of any type. */
export function Field(props: FieldProps): JSX.Element {
  const { type, value } = props;
  if (!fits(type, value)) return <Misfit {...props} />;
  switch (type.kind) {
    case "record":
      return <RecordField {...props} type={type} />;
    case "tuple":
      return <TupleField {...props} type={type} />;
    case "list":
      return <ListField {...props} type={type} />;
    case "map":
      return <MapField {...props} type={type} />;
    case "variant":
      return <VariantField {...props} type={type} />;
    case "flags":
      return <FlagsField {...props} type={type} />;
    case "option":
      return <OptionField {...props} type={type} />;
    case "nothing":
      return <Group {...props}>{undefined}</Group>;
    default:
      return <SimpleField {...props} />;
  }
}

/** A group of fields with a legend. */
function Group({ type, label, pointer, children }: FieldProps & { children: JSX.Element[] | JSX.Element | undefined }) {
  const ids = useField(pointer, type.docs !== undefined);
  return (
    <fieldset id={ids.id} tabIndex={-1} class={ids.mistake ? "group wrong" : "group"} {...textsOf(ids.described)}>
      <legend>
        {label} <code class="type">{typeText(type)}</code>
      </legend>
      <Texts type={type} ids={ids} />
      {children}
    </fieldset>
  );
}

/** A group can be described, but only an input can be invalid. */
function textsOf(described: { "aria-describedby"?: string }): { "aria-describedby"?: string } {
  const texts = described["aria-describedby"];
  return texts === undefined ? {} : { "aria-describedby": texts };
}

/** A value that the type's field can't show. */
function Misfit({ type, value, label, pointer, onChange }: FieldProps): JSX.Element {
  const ids = useField(pointer, false);
  const text = compact(value);
  return (
    <div class="field" id={ids.id} tabIndex={-1}>
      <div class="field-head">
        <span>{label}</span> <code class="type">{typeText(type)}</code>
      </div>
      <Texts type={type} ids={ids} />
      {type.kind === "other" ? (
        <p class="muted">Write this value in the JSON.</p>
      ) : (
        <p class="row">
          <span>
            The JSON has another value here: <code>{text.length > 80 ? `${text.slice(0, 80)}…` : text}</code>
          </span>
          <button type="button" class="small" onClick={() => onChange(blank(type))}>
            Start with an empty {typeText(type)}
          </button>
        </p>
      )}
    </div>
  );
}

function RecordField(props: PropsOf<"record">): JSX.Element {
  const { type, value, pointer, onChange } = props;
  const members = isObject(value) ? value : {};
  const change = (name: string, isOptional: boolean, next: Json) => {
    if (isOptional && next === null) {
      const { [name]: _left, ...rest } = members;
      onChange(rest);
    } else {
      // The members stay in the order of the type.
      const all = { ...members, [name]: next };
      const known = type.fields.map((field) => field.name).filter((it) => it in all);
      onChange({ ...Object.fromEntries(known.map((it) => [it, all[it] as Json])), ...all });
    }
  };
  return (
    <Group {...props}>
      {type.fields.map((field) => (
        <Field
          key={field.name}
          type={field.type}
          label={field.name}
          value={members[field.name] ?? null}
          pointer={memberPointer(pointer, field.name)}
          onChange={(next) => change(field.name, field.isOptional, next)}
        />
      ))}
    </Group>
  );
}

function TupleField(props: PropsOf<"tuple">): JSX.Element {
  const { type, value, pointer, onChange } = props;
  const items = value as Json[];
  return (
    <Group {...props}>
      {type.items.map((item, at) => (
        <Field
          key={at}
          type={item}
          label={`Part ${at}`}
          value={items[at] ?? null}
          pointer={memberPointer(pointer, at)}
          onChange={(next) => onChange(items.with(at, next))}
        />
      ))}
    </Group>
  );
}

function ListField(props: PropsOf<"list">): JSX.Element {
  const { type, value, label, pointer, onChange } = props;
  const items = value as Json[];
  const { ids, drop } = useIds(items.length);
  const { list, add, removing } = useRemoval<HTMLOListElement>();
  const from = useSignal(0);
  const start = from.value < items.length ? from.value : 0;
  const append = () => {
    from.value = items.length - (items.length % PAGE);
    onChange([...items, blank(type.item)]);
    notify(`Added item ${items.length} of ${label}.`);
  };
  const remove = (at: number) => {
    removing(at - start);
    drop(at);
    onChange(items.toSpliced(at, 1));
  };
  return (
    <Group {...props}>
      <ol class="items" start={start} ref={list}>
        {items.slice(start, start + PAGE).map((item, offset) => {
          const at = start + offset;
          return (
            <li key={ids[at]}>
              <Field
                type={type.item}
                label={`${label} ${at}`}
                value={item}
                pointer={memberPointer(pointer, at)}
                onChange={(next) => onChange(items.with(at, next))}
              />
              <button
                type="button"
                class="small remove"
                aria-label={`Remove item ${at} of ${label}`}
                onClick={() => remove(at)}
              >
                Remove
              </button>
            </li>
          );
        })}
      </ol>
      <Pages what={label} from={start} size={PAGE} total={items.length} onMove={(next) => (from.value = next)} />
      <button type="button" class="small" ref={add} onClick={append} aria-label={`Add an item to ${label}`}>
        Add an item
      </button>
    </Group>
  );
}

function MapField(props: PropsOf<"map">): JSX.Element {
  const { type, value, label, pointer, onChange } = props;
  const members = isObject(value) ? value : {};
  const rows = useRows(Object.keys(members));
  const { list, add, removing } = useRemoval<HTMLUListElement>();
  const from = useSignal(0);
  const start = from.value < rows.length ? from.value : 0;
  const set = (entries: [string, Json][]) => onChange(Object.fromEntries(entries));
  const all = () => rows.map(({ key }): [string, Json] => [key, members[key] ?? null]);
  const rename = (at: number, key: string) => {
    const entries = all().map((entry, index): [string, Json] => (index === at ? [key, entry[1]] : entry));
    // The row stays where it is.
    const row = rows[at];
    if (row) row.key = key;
    set(entries);
  };
  const append = () => {
    let number = rows.length + 1;
    while (Object.hasOwn(members, `key-${number}`)) number += 1;
    from.value = rows.length - (rows.length % PAGE);
    set([...all(), [`key-${number}`, blank(type.value)]]);
    notify(`Added key-${number} to ${label}.`);
  };
  const remove = (at: number) => {
    removing(at - start);
    set(all().toSpliced(at, 1));
  };
  return (
    <Group {...props}>
      <ul class="items" ref={list}>
        {rows.slice(start, start + PAGE).map(({ id, key }, offset) => (
          <li key={id}>
            <KeyInput
              id={id}
              name={key}
              label={label}
              pointer={pointer}
              isTaken={(other) => other !== key && Object.hasOwn(members, other)}
              onChange={(next) => rename(start + offset, next)}
            />
            <Field
              type={type.value}
              label={key}
              value={members[key] ?? null}
              pointer={memberPointer(pointer, key)}
              onChange={(next) => set(all().map((entry) => (entry[0] === key ? [key, next] : entry)))}
            />
            <button
              type="button"
              class="small remove"
              aria-label={`Remove ${key} of ${label}`}
              onClick={() => remove(start + offset)}
            >
              Remove
            </button>
          </li>
        ))}
      </ul>
      <Pages what={label} from={start} size={PAGE} total={rows.length} onMove={(next) => (from.value = next)} />
      <button type="button" class="small" ref={add} onClick={append} aria-label={`Add a key to ${label}`}>
        Add a key
      </button>
    </Group>
  );
}

interface KeyInputProps {
  id: number;
  name: string;
  /** The label of the map. */
  label: string;
  pointer: string;
  isTaken: (key: string) => boolean;
  onChange: (key: string) => void;
}

/** The key of a row. While another row has the key that is typed, the row keeps the one before. */
function KeyInput({ id, name, label, pointer, isTaken, onChange }: KeyInputProps): JSX.Element {
  const { prefix } = useContext(FormContext);
  const typed = useSignal<string | undefined>(undefined);
  const isDouble = typed.value !== undefined && isTaken(typed.value);
  const mistakeId = `${idOf(prefix, pointer)}:key-${id}`;
  const change = (key: string) => {
    typed.value = isTaken(key) ? key : undefined;
    if (!isTaken(key)) onChange(key);
  };
  return (
    <div class="field">
      <label>
        Key{" "}
        <input
          value={isDouble ? typed.value : name}
          spellcheck={false}
          autocomplete="off"
          onInput={(event) => change(event.currentTarget.value)}
          aria-label={`Key ${name} of ${label}`}
          aria-invalid={isDouble ? "true" : undefined}
          aria-describedby={isDouble ? mistakeId : undefined}
        />
      </label>
      {isDouble && (
        <p class="mistake" id={mistakeId} role="status">
          {label} has this key already. Here it is still “{name}”.
        </p>
      )}
    </div>
  );
}

function VariantField(props: PropsOf<"variant">): JSX.Element {
  const { type, value, label, pointer, onChange } = props;
  const ids = useField(pointer, type.docs !== undefined);
  // A key press on the choice of the case must not lose what was entered for another one.
  const values = useRef(new Map<string, Json>());
  const found = caseOf(value);
  const known = type.cases.find((it) => it.name === found?.name);
  const choose = (name: string) => {
    if (found) values.current.set(found.name, value);
    onChange(values.current.get(name) ?? blankCase(name, type.cases.find((it) => it.name === name)?.payload));
  };
  const payload = known?.payload;
  return (
    <div class={payload ? "group" : "field"}>
      <div class="field-head">
        <label for={ids.id}>{label}</label> <code class="type">{typeText(type)}</code>
      </div>
      <Texts type={type} ids={ids} />
      <Choice ids={ids} names={type.cases.map((it) => it.name)} value={found?.name ?? ""} onChange={choose} />
      {known?.docs && <p class="docs">{known.docs}</p>}
      {known && payload && payload.kind !== "nothing" && (
        <Field
          key={known.name}
          type={payload}
          label={known.name}
          value={found?.payload ?? null}
          pointer={memberPointer(pointer, known.name)}
          onChange={(next) => onChange({ [known.name]: next })}
        />
      )}
    </div>
  );
}

function FlagsField(props: PropsOf<"flags">): JSX.Element {
  const { type, value, onChange } = props;
  const held = value as Json[];
  const toggle = (name: string, isSet: boolean) =>
    onChange(type.names.filter((it) => (it === name ? isSet : held.includes(it))));
  return (
    <Group {...props}>
      <div class="flags">
        {type.names.map((name) => (
          <label key={name} class="check">
            <input
              type="checkbox"
              checked={held.includes(name)}
              onChange={(event) => toggle(name, event.currentTarget.checked)}
            />{" "}
            {name}
          </label>
        ))}
      </div>
    </Group>
  );
}

function OptionField({ type, value, label, pointer, onChange }: PropsOf<"option">): JSX.Element {
  const isSet = value !== null;
  // The field inside has the same place, and its texts, unless the option is nested.
  const hasPlace = !isSet || type.isNested;
  const ids = useField(hasPlace ? pointer : `${pointer}?`, type.docs !== undefined);
  const wrap = (inner: Json): Json => (type.isNested ? { some: inner } : inner);
  const inner: Json = type.isNested && isObject(value) ? (value.some ?? null) : value;
  // A null inside would be a value that isn't given: start with something else.
  const start = blank(type.inner) ?? (type.inner.kind === "option" ? null : "");
  const before = useRef<Json>(wrap(start));
  const give = (isGiven: boolean) => {
    if (!isGiven) before.current = value;
    onChange(isGiven ? before.current : null);
  };
  return (
    <div class="optional">
      <div class="field-head">
        <label class="check">
          <input
            id={ids.id}
            type="checkbox"
            checked={isSet}
            onChange={(event) => give(event.currentTarget.checked)}
            {...ids.described}
          />{" "}
          Give <b>{label}</b>
        </label>{" "}
        <code class="type">{typeText(type)}</code>
      </div>
      <Texts type={type} ids={ids} />
      {isSet && (
        <Field
          type={type.inner}
          label={label}
          value={inner}
          pointer={type.isNested ? memberPointer(pointer, "some") : pointer}
          onChange={(next) => onChange(type.isNested || next !== null ? wrap(next) : wrap(""))}
        />
      )}
    </div>
  );
}
