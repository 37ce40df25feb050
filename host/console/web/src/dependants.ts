// The callers of a function.

import type { FunctionVersion } from "./api/wire.ts";

/**
 * Returns the pipelines that call a function, directly or through others, in the order in which they can
 * be removed. `further` are callers that the list doesn't show, because an earlier version calls it.
 */
export function dependants(name: string, all: FunctionVersion[], further: string[]): string[] {
  const found: string[] = [];
  const visit = (called: string, extra: string[]) => {
    const callers = all.filter((it) => it.pipeline && called in it.pipeline.pinned).map((it) => it.name);
    for (const caller of new Set([...callers, ...extra])) {
      if (found.includes(caller) || caller === name) continue;
      visit(caller, []);
      found.push(caller);
    }
  };
  visit(name, further);
  return found;
}
