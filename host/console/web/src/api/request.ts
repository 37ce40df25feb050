// Requests to the control plane. The browser adds the cookie of the session.

import { type Json, read, isNumber, isObject } from "../json.ts";
import { Refused, Unreachable, problemOf } from "./problem.ts";

/** Called when an answer says that the session has ended. */
let onSignedOut = () => {};

export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

export interface Options {
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Set if a 401 is an answer like any other, as it is when signing in. */
  isSigningIn?: boolean;
}

/** Sends a request and returns the response, whatever its status, except a 401. */
export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
  const { body, headers, signal, isSigningIn } = options;
  // With `no-store` a browser adds `Cache-Control: no-cache`, which would make every call run again.
  const cache = method === "GET" ? "no-store" : "default";
  const init: RequestInit = { method, cache, credentials: "same-origin", redirect: "error" };
  if (body !== undefined) init.body = body;
  if (headers) init.headers = headers;
  if (signal) init.signal = signal;
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable();
  }
  if (response.status === 401 && !isSigningIn) onSignedOut();
  return response;
}

/** Sends a request and fails unless it succeeds. */
export async function succeed(method: string, path: string, options: Options = {}): Promise<Response> {
  const response = await send(method, path, options);
  if (!response.ok) throw new Refused(problemOf(response.status, await response.text()), response.status);
  return response;
}

/** Reads a JSON document. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await succeed("GET", path, signal ? { signal } : {});
  return (await response.json()) as T;
}

/** Sends a JSON document. */
export async function sendJson<T>(method: string, path: string, body: unknown): Promise<T | undefined> {
  const headers = { "content-type": "application/json" };
  const response = await succeed(method, path, { body: JSON.stringify(body), headers });
  const text = await response.text();
  return text === "" ? undefined : (JSON.parse(text) as T);
}

/**
 * Reads a JSON document in which numbers may have more digits than JavaScript's. Those below 2^53 are
 * ordinary numbers, except in schemas.
 */
export async function getExact<T>(path: string, signal: AbortSignal): Promise<{ document: T; tag: string | null }> {
  const response = await succeed("GET", path, { signal });
  const found = read(await response.text());
  if (found.mistake) throw new Error(`The answer isn't JSON: ${found.mistake.message}`);
  return { document: plain(found.value) as T, tag: response.headers.get("etag") };
}

function plain(value: Json): unknown {
  if (isNumber(value)) return Number(value.toString());
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  const members = Object.entries(value);
  return Object.fromEntries(members.map(([name, it]) => [name, name.endsWith("_schema") ? it : plain(it)]));
}
