// The views and their addresses. The fragment of the URL holds the view, so it never reaches a server.

import { signal } from "@preact/signals";

/** A tab of a function's view. */
export type Tab = "call" | "steps" | "stats" | "log" | "versions" | "about";

const TABS: string[] = ["call", "steps", "stats", "log", "versions", "about"] satisfies Tab[];

/** A view. */
export type Route =
  | { view: "overview" | "functions" | "pipelines" | "logs" | "failures" | "cache" | "tokens" | "unknown" }
  | { view: "function"; name: string; tab: Tab }
  | { view: "sign-in"; code?: string };

/** Reads a fragment such as `#/functions/add/log`. */
export function parse(fragment: string): Route {
  const parts = fragment.replace(/^#?\/?/, "").split("/").filter((part) => part !== "");
  const [first, second, third] = parts.map(decode);
  switch (first) {
    case undefined:
      return { view: "overview" };
    case "functions":
      if (second === undefined) return { view: "functions" };
      if (third !== undefined && !TABS.includes(third)) return { view: "unknown" };
      return { view: "function", name: second, tab: (third ?? "call") as Tab };
    case "sign-in":
      return second === undefined ? { view: "sign-in" } : { view: "sign-in", code: second };
    case "pipelines":
    case "logs":
    case "failures":
    case "cache":
    case "tokens":
      return second === undefined ? { view: first } : { view: "unknown" };
    default:
      return { view: "unknown" };
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Returns the address of a function's view. */
export function functionHref(name: string, tab: Tab = "call"): string {
  return `#/functions/${encodeURIComponent(name)}${tab === "call" ? "" : `/${tab}`}`;
}

/** The view that is shown. */
export const route = signal<Route>(parse(location.hash));

addEventListener("hashchange", () => {
  route.value = parse(location.hash);
});

/** Shows another view. */
export function go(href: string): void {
  location.hash = href;
}

/** Replaces the address, so that the one before isn't in the history. */
export function replace(href: string): void {
  history.replaceState(null, "", href);
  route.value = parse(href);
}
