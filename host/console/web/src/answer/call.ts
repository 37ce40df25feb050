// One call of a function, and what its answer says about it.

import { type Problem, problemOf } from "../api/problem.ts";
import { send } from "../api/request.ts";

/** The body of a call. */
export interface CallBody {
  body?: BodyInit;
  mediaType?: string;
  /** Set to get texts and bytes as they are, not as JSON. */
  isPlain: boolean;
}

export interface CallOptions {
  /** Run the function even if a result is cached. */
  isFresh: boolean;
  /** Ask for a receipt, and to keep the input, with which the call can be computed again. */
  hasReceipt: boolean;
  signal: AbortSignal;
}

/** The answer to a call. */
export interface Answer {
  status: number;
  bytes: Uint8Array<ArrayBuffer>;
  mediaType: string;
  /** Set if the host answered in place of the function. */
  problem?: Problem;
  timing: TimingEntry[];
  cache: string | undefined;
  receipt: string | undefined;
  /** Set if the server keeps the input of the receipt. */
  isInputKept: boolean;
  /** `name@version; digest=…` */
  function: string | undefined;
  requestId: string | undefined;
  /** The time from the request to the answer, as the browser sees it. */
  tookMs: number;
}

/** One entry of `Server-Timing`. */
export interface TimingEntry {
  name: string;
  ms: number;
  text?: string;
}

/** Calls a function. */
export async function call(name: string, input: CallBody, options: CallOptions): Promise<Answer> {
  const headers: Record<string, string> = {};
  if (input.mediaType) headers["content-type"] = input.mediaType;
  headers.accept = input.isPlain ? "application/octet-stream, application/json;q=0.9, */*;q=0.1" : "*/*";
  if (options.isFresh) headers["cache-control"] = "no-cache";
  if (options.hasReceipt) headers.prefer = "receipt=with-input";
  const path = `/api/v1/functions/${name}/call`;
  const started = performance.now();
  const request = { headers, signal: options.signal, ...(input.body === undefined ? {} : { body: input.body }) };
  const response = await send("POST", path, request);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const tookMs = performance.now() - started;
  const header = (name: string) => response.headers.get(name) ?? undefined;
  const mediaType = header("content-type") ?? "";
  const isDocument = !response.ok && /^application\/problem\+json/.test(mediaType);
  // A function may answer with a problem document of its own: that is its answer.
  const problem = isDocument ? problemOf(response.status, new TextDecoder().decode(bytes)) : undefined;
  return {
    status: response.status,
    bytes,
    mediaType,
    ...(problem ? { problem } : {}),
    timing: timingOf(header("server-timing") ?? ""),
    cache: header("cache-status"),
    receipt: header("nebula-receipt"),
    isInputKept: header("preference-applied")?.includes("with-input") ?? false,
    function: header("nebula-function"),
    requestId: header("x-request-id"),
    tookMs,
  };
}

/** Reads `Server-Timing`: `queue;dur=0.1, upper;dur=2;desc="1 of 2 hit"`. */
export function timingOf(header: string): TimingEntry[] {
  const entries = header.match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? [];
  return entries.flatMap((entry) => {
    const [name, ...parameters] = (entry.match(/(?:[^;"]|"(?:[^"\\]|\\.)*")+/g) ?? []).map((part) => part.trim());
    if (!name) return [];
    const found: TimingEntry = { name, ms: 0 };
    for (const parameter of parameters) {
      const at = parameter.indexOf("=");
      const value = parameter.slice(at + 1).replace(/^"(.*)"$/s, "$1").replace(/\\(.)/g, "$1");
      if (parameter.startsWith("dur=")) found.ms = Number(value) || 0;
      if (parameter.startsWith("desc=")) found.text = value;
    }
    return [found];
  });
}

/** Returns a sentence about `Cache-Status`. */
export function cacheSentence(header: string): string {
  const parts = header.split(";").map((part) => part.trim());
  const has = (part: string) => parts.includes(part);
  if (has("hit")) return has("detail=disk") ? "A cached result from disk" : "A cached result from memory";
  if (has("collapsed")) return "The result of an identical call that was running";
  if (has("fwd=request")) return "The function ran, because you asked for it";
  if (has("fwd=bypass")) return "The function ran; its results aren't cached";
  return has("stored") ? "The function ran; its result is cached now" : "Not from the cache";
}
