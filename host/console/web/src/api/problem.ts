// Errors of requests: the server refuses one, something else answers it, or nothing does.

/** The beginning of the type of every problem of Nebula. */
const TYPE = "urn:nebula:problem:";

/** A problem document of Nebula (RFC 9457), as far as the console shows it. */
export interface Problem {
  type: string;
  status: number;
  detail: string;
  pointer?: string;
  expected?: string;
  found?: string;
  hint?: string;
  step?: string;
  line?: number;
  column?: number;
  reason?: string;
  backtrace?: string[];
  log_tail?: string;
  pipelines?: PipelineRef[];
}

/** A pipeline that a problem names, with the reason if it has one. */
export interface PipelineRef {
  pipeline: string;
  reason?: string;
}

/** A request that the server refused. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }

  get status(): number {
    return this.problem.status;
  }

  /** The last part of the problem's type: `in-use`. */
  get kind(): string {
    return kindOf(this.problem);
  }
}

/** A request that something between the browser and the server answered. */
export class Unexpected extends Error {
  constructor(status: number) {
    super(`Something else than the server answered, with the status ${status}.`);
  }
}

/** A request that got no answer. */
export class Unreachable extends Error {
  constructor() {
    super("The server doesn't answer.");
  }
}

export function kindOf(problem: Problem): string {
  return problem.type.slice(TYPE.length);
}

/**
 * Reads a problem of Nebula; undefined for any other text. Members of a wrong type are left out: a
 * function can answer with a document that claims to be one.
 */
export function problemOf(status: number, text: string): Problem | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof document !== "object" || document === null) return undefined;
  const members = document as Record<string, unknown>;
  const { type, detail, backtrace, pipelines } = members;
  if (typeof type !== "string" || !type.startsWith(TYPE) || typeof detail !== "string") return undefined;
  const problem: Problem = { type, status, detail };
  for (const name of ["pointer", "expected", "found", "hint", "step", "reason", "log_tail"] as const) {
    const value = members[name];
    if (typeof value === "string") problem[name] = value;
  }
  for (const name of ["line", "column"] as const) {
    const value = members[name];
    if (typeof value === "number") problem[name] = value;
  }
  if (Array.isArray(backtrace)) problem.backtrace = backtrace.filter((it) => typeof it === "string");
  if (Array.isArray(pipelines)) problem.pipelines = pipelines.flatMap(pipelineRef);
  return problem;
}

/** Reads an item of `pipelines`: a name, or an object with the name and a reason. */
function pipelineRef(item: unknown): PipelineRef[] {
  if (typeof item === "string") return [{ pipeline: item }];
  if (typeof item !== "object" || item === null) return [];
  const { pipeline, reason } = item as Record<string, unknown>;
  if (typeof pipeline !== "string") return [];
  return [typeof reason === "string" ? { pipeline, reason } : { pipeline }];
}

/** Returns the error that an answer without success stands for. */
export function errorOf(status: number, text: string): Refused | Unexpected {
  const problem = problemOf(status, text);
  return problem ? new Refused(problem) : new Unexpected(status);
}

/** Returns a sentence about any error. */
export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}
