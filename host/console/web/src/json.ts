// JSON whose numbers keep all of their digits: 18446744073709551615 stays itself.

import { LosslessNumber, isLosslessNumber, parse, stringify } from "lossless-json";

export { LosslessNumber };

/** A JSON value. Numbers are the text that they were written as. */
export type Json = null | boolean | string | LosslessNumber | Json[] | JsonObject;

/** A JSON object, in the order of its members. */
export interface JsonObject {
  [name: string]: Json;
}

/** A mistake in a JSON text and its place, counted from 1. */
export interface JsonMistake {
  message: string;
  line: number;
  column: number;
}

/** The result of reading a JSON text. */
export type Read = { value: Json; mistake?: undefined } | { mistake: JsonMistake };

/** Reads a JSON text. */
export function read(text: string): Read {
  try {
    return { value: parse(text) as Json };
  } catch (error) {
    if (error instanceof RangeError) return { mistake: { message: "It is nested too deeply to be shown", line: 1, column: 1 } };
    const message = error instanceof Error ? error.message : String(error);
    const position = Number(/position (\d+)/.exec(message)?.[1] ?? text.length);
    const before = text.slice(0, position).split("\n");
    const sentence = message.replace(/ (but got .*|but reached end of input )?(encountered )?at position \d+$/, (all) =>
      all.includes("reached end") ? ", but the text ends here" : all.replace(/ (encountered )?at position \d+$/, ""),
    );
    return { mistake: { message: sentence, line: before.length, column: (before.at(-1)?.length ?? 0) + 1 } };
  }
}

/** Writes a value as text, with an indent for people. */
export function write(value: Json): string {
  return stringify(value, null, 2) ?? "null";
}

/** Returns about how many characters a value is written with; stops counting above `max`. */
export function lengthOf(value: Json, max: number): number {
  let length = 0;
  const waiting = [value];
  while (waiting.length > 0 && length <= max) {
    const next = waiting.pop();
    length += 4;
    if (typeof next === "string") length += next.length;
    else if (Array.isArray(next)) for (const item of next) waiting.push(item);
    else if (isObject(next)) {
      for (const [name, item] of Object.entries(next)) {
        length += name.length;
        waiting.push(item);
      }
    }
  }
  return length;
}

/** Writes a value on one line. */
export function compact(value: Json): string {
  return stringify(value) ?? "null";
}

/** Returns a number from its digits. */
export function number(digits: string): LosslessNumber {
  return new LosslessNumber(digits);
}

export function isNumber(value: Json | undefined): value is LosslessNumber {
  return isLosslessNumber(value);
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isLosslessNumber(value);
}

/** Tells whether a text is a number as JSON writes it. */
export function isNumberText(text: string): boolean {
  return /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text);
}
