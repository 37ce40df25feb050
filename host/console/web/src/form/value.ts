// Values of a form: what a new field holds, and the mistakes that the page sees by itself.
//
// The document is the only state of a form. A text that isn't a number yet is kept as a JSON string,
// so the document is valid JSON at all times, and the server has the last word on it.

import { type Json, LosslessNumber, isNumber, isNumberText, isObject, number } from "../json.ts";
import type { Field, Type } from "./type.ts";

/** Returns the value that a new field of this type starts with. Numbers start empty, as null. */
export function blank(type: Type): Json {
  switch (type.kind) {
    case "bool":
      return false;
    case "char":
    case "string":
    case "bytes":
      return "";
    case "list":
    case "flags":
      return [];
    case "map":
      return {};
    case "tuple":
      return type.items.map(blank);
    case "record":
      return blankRecord(type.fields);
    case "variant": {
      const first = type.cases[0];
      return first ? blankCase(first.name, first.payload) : null;
    }
    case "enum":
      return type.names[0] ?? "";
    case "integer":
    case "float":
    case "nothing":
    case "option":
    case "other":
      return null;
  }
}

function blankRecord(fields: Field[]): Json {
  const required = fields.filter((field) => !field.isOptional);
  return Object.fromEntries(required.map((field) => [field.name, blank(field.type)]));
}

/** Returns a case with a new payload. */
export function blankCase(name: string, payload: Type | undefined): Json {
  return payload ? { [name]: blank(payload) } : name;
}

/** Returns the case that a variant's value has, and its payload. */
export function caseOf(value: Json): { name: string; payload?: Json } | undefined {
  if (typeof value === "string") return { name: value };
  if (!isObject(value)) return undefined;
  const [entry, second] = Object.entries(value);
  return entry && !second ? { name: entry[0], payload: entry[1] } : undefined;
}

/** Tells whether a form of this type can show the value. */
export function fits(type: Type, value: Json): boolean {
  switch (type.kind) {
    case "bool":
      return typeof value === "boolean";
    case "char":
    case "string":
    case "bytes":
    case "enum":
      return typeof value === "string";
    case "integer":
    case "float":
      return value === null || typeof value === "string" || isNumber(value);
    case "list":
    case "flags":
      return Array.isArray(value);
    case "map":
    case "record":
      return isObject(value);
    case "tuple":
      return Array.isArray(value) && value.length === type.items.length;
    case "variant": {
      const found = caseOf(value);
      const known = type.cases.find((it) => it.name === found?.name);
      return known !== undefined && (known.payload === undefined) === (found?.payload === undefined);
    }
    case "nothing":
      return value === null;
    case "option":
      return value === null || !type.isNested || (isObject(value) && "some" in value);
    case "other":
      return false;
  }
}

/** Returns the value of a number's field from the text in it. */
export function numberFrom(text: string): Json {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  return isNumberText(trimmed) ? number(trimmed) : trimmed;
}

/** Returns the text of a number's field. */
export function numberText(value: Json): string {
  return value === null ? "" : value instanceof LosslessNumber ? value.toString() : String(value);
}

/** Returns what is wrong with the value of a simple field, or nothing. */
export function mistakeIn(type: Type, value: Json): string | undefined {
  switch (type.kind) {
    case "integer": {
      const text = numberText(value);
      const digits = /^-?\d+$/.test(text) ? BigInt(text) : undefined;
      const isExact = digits !== undefined || isNumber(value);
      if (text === "") return undefined;
      if (!isExact) return `Not a whole number. Enter one from ${type.min} to ${type.max}.`;
      const isOut = digits !== undefined && (digits < type.min || digits > type.max);
      return isOut ? `Out of range. Enter a whole number from ${type.min} to ${type.max}.` : undefined;
    }
    case "float": {
      const text = numberText(value);
      const isKnown = text === "" || isNumber(value) || ["NaN", "Infinity", "-Infinity"].includes(text);
      return isKnown ? undefined : "Not a number. NaN, Infinity and -Infinity are allowed too.";
    }
    case "char":
      return typeof value === "string" && value !== "" && [...value].length !== 1
        ? "More than one character."
        : undefined;
    default:
      return undefined;
  }
}

/** Returns the JSON pointer of a member (RFC 6901). */
export function memberPointer(pointer: string, member: string | number): string {
  return `${pointer}/${String(member).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** Decodes base64; undefined if the text isn't base64. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** Returns how many bytes a base64 text stands for, without decoding it; undefined if it isn't base64. */
export function bytesIn(base64: string): number | undefined {
  const digits = base64.replace(/={1,2}$/, "").length;
  const isPadded = digits !== base64.length;
  const isWhole = isPadded ? base64.length % 4 === 0 : digits % 4 !== 1;
  return isWhole && /^[A-Za-z0-9+/]*={0,2}$/.test(base64) ? Math.floor((digits * 3) / 4) : undefined;
}

/** Encodes bytes as base64. */
export function base64Of(bytes: Uint8Array): string {
  let binary = "";
  const step = 0x8000;
  for (let at = 0; at < bytes.length; at += step) binary += String.fromCharCode(...bytes.subarray(at, at + step));
  return btoa(binary);
}
