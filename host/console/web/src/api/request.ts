// Requests to the control plane. The browser adds the cookie of the session.

import { type Json, read, isNumber, isObject } from "../json.ts";
import { Unreachable, errorOf } from "./problem.ts";

/** Called when an answer says that the session has ended, or permits less than it did. */
let [onSignedOut, onForbidden] = [() => {}, () => {}];

export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

export function whenForbidden(callback: () => void): void {
  onForbidden = callback;
}

export interface Options {
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Set if a 401 is an answer like any other, as it is when signing in. */
  isSigningIn?: boolean;
}

/** Sends a request and returns the response, whatever its status. */
export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
  const { body, headers, signal, isSigningIn } = options;
  // A browser adds with `no-store` the header `Cache-Control: no-cache`, which would make every call run again.
  const cache = method === "GET" ? "no-store" : "default";
  // The server redirects nothing. A redirect of a function has no `Location` here: it is an answer.
  const init: RequestInit = { method, cache, credentials: "same-origin", redirect: "follow" };
  if (body !== undefined) init.body = body;
  if (headers) init.headers = headers;
  if (signal) init.signal = signal;
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw await failureOf(body);
  }
  if (!isSigningIn && !isOfFunction(response)) tell(response.status);
  return response;
}

/** Tells the session about a status by which the server itself answered. */
export function tell(status: number): void {
  if (status === 401) onSignedOut();
  if (status === 403) onForbidden();
}

/** Tells whether a function decided the answer: a 401 of a function says nothing about the session. */
function isOfFunction(response: Response): boolean {
  return response.headers.has("nebula-function");
}

/** Returns why a request got no answer: a file that changes after it was chosen can't be read. */
export async function failureOf(body: BodyInit | undefined): Promise<Error> {
  try {
    if (body instanceof Blob) await body.slice(0, 1).arrayBuffer();
  } catch {
    return new Error("The file has changed. Choose it again.");
  }
  return new Unreachable();
}

/** Sends a request and fails unless it succeeds. */
export async function succeed(method: string, path: string, options: Options = {}): Promise<Response> {
  const response = await send(method, path, options);
  if (!response.ok) throw errorOf(response.status, await response.text());
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
