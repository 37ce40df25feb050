// A function as the server described it.

import type { FunctionDetail } from "../api/wire.ts";

/** A function with the tag that names its current version, for changes on condition. */
export interface Tagged {
  detail: FunctionDetail;
  tag: string | null;
}
