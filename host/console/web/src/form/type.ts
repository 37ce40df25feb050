// The WIT type of an input, read from its JSON Schema.
//
// The server describes each WIT type by exactly one form of schema (docs/wit.md), so the schema gives
// the type back. A schema in another form is `other`, for which the console shows JSON alone. `nothing`
// is the payload of `result<_, E>`, which JSON writes as null.

import { type Json, type JsonObject, isNumber, isObject } from "../json.ts";

/** A type, with its name and its author's text if it has them. */
export type Type = { title?: string; docs?: string } & Shape;

type Shape =
  | { kind: "bool" | "char" | "string" | "bytes" | "nothing" | "other" }
  | { kind: "integer"; name: string; min: bigint; max: bigint }
  | { kind: "float"; name: "f32" | "f64" }
  | { kind: "list"; item: Type }
  | { kind: "map"; value: Type }
  | { kind: "tuple"; items: Type[] }
  | { kind: "record"; fields: Field[] }
  | { kind: "variant"; cases: Case[]; isResult: boolean }
  | { kind: "enum"; names: string[] }
  | { kind: "flags"; names: string[] }
  | { kind: "option"; inner: Type; isNested: boolean };

/** A field of a record, or a parameter. */
export interface Field {
  name: string;
  type: Type;
  /** Set if the field may be left out. */
  isOptional: boolean;
}

/** A case of a variant or a result. */
export interface Case {
  name: string;
  /** Absent if the case has no payload. */
  payload?: Type;
  docs?: string;
}

/** Reads a schema. */
export function typeOf(schema: Json | undefined): Type {
  if (!isObject(schema)) return { kind: "other" };
  const type: Type = { ...shapeOf(schema) };
  if (typeof schema.title === "string") type.title = schema.title;
  if (typeof schema.description === "string") type.docs = schema.description;
  return type;
}

function shapeOf(schema: JsonObject): Shape {
  if (Array.isArray(schema.oneOf)) return choiceOf(schema.oneOf.filter(isObject));
  const isObjectType = schema.type === "object" || (Array.isArray(schema.type) && schema.type.includes("object"));
  if (isObjectType && isObject(schema.properties)) return { kind: "record", fields: fieldsOf(schema) };
  if (isObjectType && isObject(schema.additionalProperties)) {
    return { kind: "map", value: typeOf(schema.additionalProperties) };
  }
  switch (schema.type) {
    case "boolean":
      return { kind: "bool" };
    case "integer":
      return integerOf(schema);
    case "string":
      return stringOf(schema);
    case "array":
      return arrayOf(schema);
    default:
      return { kind: "other" };
  }
}

function fieldsOf(schema: JsonObject): Field[] {
  const required = Array.isArray(schema.required) ? schema.required : [];
  const properties = isObject(schema.properties) ? schema.properties : {};
  return Object.entries(properties).map(([name, field]) => ({
    name,
    type: typeOf(field),
    isOptional: !required.includes(name),
  }));
}

function integerOf(schema: JsonObject): Shape {
  const bound = (value: Json | undefined) => (isNumber(value) ? BigInt(value.toString()) : undefined);
  const [min, max] = [bound(schema.minimum), bound(schema.maximum)];
  if (min === undefined || max === undefined) return { kind: "other" };
  const span = max - min;
  const bits = [8, 16, 32, 64].find((bits) => span < 1n << BigInt(bits)) ?? 64;
  return { kind: "integer", name: `${min < 0n ? "s" : "u"}${bits}`, min, max };
}

function stringOf(schema: JsonObject): Shape {
  if (schema.contentEncoding === "base64") return { kind: "bytes" };
  if (Array.isArray(schema.enum)) return { kind: "enum", names: namesOf(schema.enum) };
  return isOne(schema.minLength) && isOne(schema.maxLength) ? { kind: "char" } : { kind: "string" };
}

function arrayOf(schema: JsonObject): Shape {
  if (Array.isArray(schema.prefixItems)) return { kind: "tuple", items: schema.prefixItems.map(typeOf) };
  const item = schema.items;
  if (schema.uniqueItems === true && isObject(item) && Array.isArray(item.enum)) {
    return { kind: "flags", names: namesOf(item.enum) };
  }
  return { kind: "list", item: typeOf(item) };
}

function choiceOf(choices: JsonObject[]): Shape {
  const [first, second] = choices;
  if (first && second && choices.length === 2) {
    if (first.type === "null") return optionOf(second);
    if (first.type === "integer" && second.type === "string") return integerOf(first);
    if (first.type === "number" && second.type === "string") {
      const isSingle = isNumber(first.maximum) && Number(first.maximum.toString()) < 1e39;
      return { kind: "float", name: isSingle ? "f32" : "f64" };
    }
    if (first.contentEncoding === "base64" && second.type === "array") return { kind: "bytes" };
  }
  const cases = choices.map(caseOf);
  if (cases.some((it) => it === undefined)) return { kind: "other" };
  const [ok, err] = choices.map(taggedName);
  return { kind: "variant", cases: cases as Case[], isResult: ok === "ok" && err === "err" && choices.length === 2 };
}

function optionOf(schema: JsonObject): Shape {
  const some = taggedName(schema) === "some" && isObject(schema.properties) ? schema.properties.some : undefined;
  const inner = typeOf(some);
  return inner.kind === "option"
    ? { kind: "option", inner, isNested: true }
    : { kind: "option", inner: typeOf(schema), isNested: false };
}

function caseOf(schema: JsonObject): Case | undefined {
  const docs = typeof schema.description === "string" ? { docs: schema.description } : {};
  if (typeof schema.const === "string") return { name: schema.const, ...docs };
  const name = taggedName(schema);
  if (name === undefined || !isObject(schema.properties)) return undefined;
  const payload = schema.properties[name];
  if (isObject(payload) && payload.type === "null") return { name, payload: { kind: "nothing" }, ...docs };
  return { name, payload: typeOf(payload), ...docs };
}

/** Returns the name of the only member of `{"case": payload}`. */
function taggedName(schema: JsonObject): string | undefined {
  if (schema.type !== "object" || !isObject(schema.properties)) return undefined;
  const names = Object.keys(schema.properties);
  const isRequired = Array.isArray(schema.required) && schema.required.length === 1;
  return names.length === 1 && isRequired ? names[0] : undefined;
}

function namesOf(values: Json[]): string[] {
  return values.filter((value): value is string => typeof value === "string");
}

function isOne(value: Json | undefined): boolean {
  return isNumber(value) && value.toString() === "1";
}

/** Writes a type as WIT would, on one line. A type with a name is its name. */
export function typeText(type: Type): string {
  if (type.title && type.kind !== "option") return type.title;
  switch (type.kind) {
    case "integer":
    case "float":
      return type.name;
    case "bytes":
      return "list<u8>";
    case "list":
      return `list<${typeText(type.item)}>`;
    case "map":
      return `map<string, ${typeText(type.value)}>`;
    case "tuple":
      return `tuple<${type.items.map(typeText).join(", ")}>`;
    case "variant":
      return type.isResult ? "result" : "variant";
    case "option":
      return `option<${typeText(type.inner)}>`;
    case "other":
      return "any";
    default:
      return type.kind;
  }
}
