// The JSON of the control plane, as far as the console reads it (docs/http.md).

import type { Json } from "../json.ts";

/** The permission of a session. Each one includes those before it. */
export type Scope = "read" | "invoke" | "admin";

export interface Session {
  name: string;
  scope: Scope;
  expires_at_unix_s?: number;
}

export interface ServerInfo {
  version: string;
  calls_url: string;
  /** Set if the server has a report of the experiment. */
  experiment?: boolean;
}

export type Form = "typed" | "raw" | "http";

export interface FunctionVersion {
  name: string;
  version: string;
  digest: string;
  size_bytes: number;
  deployed_at_unix_s: number;
  limits: Record<string, number>;
  cache?: { off?: boolean; ttl_s?: number; bytes_max?: number; traps?: boolean };
  config?: Record<string, string>;
  project?: string;
  cors?: { origins: string[] };
  route?: string[];
  host?: string[];
  pipeline?: { description: unknown; pinned: Record<string, { version: string; digest: string }> };
  linked?: LinkedFunction[];
  form: Form;
  signature: string;
  docs?: string;
  input_schema: Json;
  output_schema: Json;
  error_schema: Json;
  imports: string[];
  notes: string[];
}

export interface LinkedFunction {
  name: string;
  version: string;
  digest: string;
  linked?: LinkedFunction[];
}

export interface FunctionDetail {
  current: FunctionVersion;
  versions: FunctionVersion[];
  disagreement?: { function: string; cached: string; computed: string; at_unix_s: number };
}

export interface LoggedCall {
  function: string;
  at_unix_us: number;
  version: string;
  outcome: string;
  duration_us: number;
  output: string;
  request_id?: string;
  backtrace?: string[];
}

export interface StepExplanation {
  step: string;
  cache: "hit" | "disk" | "miss";
  took_us: number;
  input: string;
  output: string;
  failed: boolean;
}

export interface Explanation {
  outcome: "ok" | "error" | "failed";
  output: string;
  took_us: number;
  steps: StepExplanation[];
}

export interface FunctionCache {
  name: string;
  entries: number;
  bytes: number;
  disk_entries: number;
  disk_bytes: number;
  hits: number;
  collapsed: number;
  misses: number;
  saved_us: number;
}

export interface CacheReport {
  bytes: number;
  bytes_max: number;
  disk_bytes: number;
  disk_bytes_max: number;
  functions: FunctionCache[];
}

export interface TokenInfo {
  name: string;
  scope: Scope;
  built_in: boolean;
  expired: boolean;
  created_at_unix_s?: number;
  expires_at_unix_s?: number;
  last_used_at_unix_s?: number;
}

/** A histogram: counts by bucket without the zeros at the end. */
export interface Histogram {
  counts: number[];
  sum_us: number;
}

export type Source = "memory" | "disk" | "merged" | "miss" | "uncached" | "refused";

export type Phase = "queue" | "load" | "start" | "run";

/** Counts since the server's start. */
export interface Counts {
  calls: number;
  errors: number;
  errors_by_code: Record<string, number>;
  cold_starts: number;
  sources: Record<Source, number>;
  lanes: { fast: number; compute: number };
  restarts: number;
  input_bytes: number;
  output_bytes: number;
  saved_us: number;
  cpu_us: number;
  energy_joules: number;
  saved_energy_joules: number;
  phases: Record<Phase, Histogram>;
}

export interface ServerStats {
  /** These four are absent if the machine doesn't show them. */
  cpu_us?: number;
  memory_bytes?: number;
  energy_joules?: number;
  energy_method?: "modelled" | "measured";
  connections: { data: number; control: number };
  lane_running: number;
  lane_running_max: number;
  lane_waiting: number;
  lane_waiting_max: number;
  instances_ready: number;
  instances_running: number;
  instances_max: number;
  loaded_components: number;
  loaded_code_bytes: number;
  loaded_code_bytes_max: number;
  compilers_running: number;
  compilers_waiting: number;
  cached_results: Record<"memory" | "disk", { results: number; bytes: number; bytes_max: number }>;
}

export interface Stats {
  at_unix_us: number;
  started_at_unix_us: number;
  bucket_bounds_us: number[];
  server: ServerStats;
  all: Counts;
  functions: Record<string, Counts>;
}
