// What can go wrong with a request: the server refuses it, or can't be reached.

/** A problem document (RFC 9457). Each kind may have further members. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  pointer?: string;
  expected?: string;
  found?: string;
  hint?: string;
  line?: number;
  column?: number;
  reason?: string;
  backtrace?: string[];
  log_tail?: string;
  pipelines?: (string | { pipeline: string; reason: string })[];
  [member: string]: unknown;
}

/** A request that the server refused. */
export class Refused extends Error {
  constructor(
    readonly problem: Problem,
    readonly status: number,
  ) {
    super(problem.detail);
  }

  /** The last part of the problem's type: `in-use`. */
  get kind(): string {
    return kindOf(this.problem);
  }
}

/** A request that got no answer. */
export class Unreachable extends Error {
  constructor() {
    super("The server doesn't answer.");
  }
}

export function kindOf(problem: Problem): string {
  return problem.type.replace(/^urn:nebula:problem:/, "");
}

/** Reads a problem from an answer; any other body becomes one that says so. */
export function problemOf(status: number, text: string): Problem {
  try {
    const parsed = JSON.parse(text) as Partial<Problem> | null;
    if (parsed && typeof parsed.detail === "string") return { type: "", title: "", status, ...parsed } as Problem;
  } catch {
    // Something between the browser and the server answered.
  }
  return { type: "", title: "Unexpected answer", status, detail: `The server answered with the status ${status}.` };
}

/** Returns a sentence about any error. */
export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}
