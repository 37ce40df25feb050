// The session of this browser.
//
// ```text
// unknown --ask--> signed in <--sign in--> signed out
// ```

import { computed, signal } from "@preact/signals";

import type { Scope, ServerInfo, Session } from "./wire.ts";
import { get, send, succeed, whenForbidden, whenSignedOut } from "./request.ts";
import { errorOf } from "./problem.ts";

/** The session; null without one; undefined until the server has said so. */
export const session = signal<Session | null | undefined>(undefined);

/** True while there is a session, whatever its scope. */
export const isSignedIn = computed(() => Boolean(session.value));

/** The reason for which the last session of this page ended. */
export const ending = signal<string | undefined>(undefined);

/** The server, once it is known. */
export const server = signal<ServerInfo | undefined>(undefined);

const SCOPES: Scope[] = ["read", "invoke", "admin"];

/** Tells whether the session may do what requires `scope`. */
export function may(scope: Scope): boolean {
  const held = session.value?.scope;
  return held !== undefined && SCOPES.indexOf(held) >= SCOPES.indexOf(scope);
}

whenSignedOut(() => {
  if (session.peek()) {
    ending.value =
      "Your session has ended: its token was revoked or has expired, the server has started again, or there was no request for 12 hours.";
  }
  session.value = null;
});

/** Set while the server is asked again. */
let isAsking = false;

// A token of this name may have been created again with another scope.
whenForbidden(() => {
  if (isAsking) return;
  isAsking = true;
  void ask()
    .catch(() => {})
    .finally(() => (isAsking = false));
});

/** Asks the server who is signed in. */
export async function ask(): Promise<void> {
  const response = await send("GET", "/api/v1/session", { isSigningIn: true });
  if (response.status === 204 || response.status === 401) session.value = null;
  else if (response.ok) await enter((await response.json()) as Session);
  else throw errorOf(response.status, await response.text());
}

/** Signs in with a token, or with the code of a one-time link. */
export async function signIn(secret: { token: string } | { code: string }): Promise<void> {
  const response = await succeed("POST", "/api/v1/session", {
    body: JSON.stringify(secret),
    headers: { "content-type": "application/json" },
    isSigningIn: true,
  });
  await enter((await response.json()) as Session);
}

/** Ends the session. */
export async function signOut(): Promise<void> {
  await succeed("DELETE", "/api/v1/session");
}

async function enter(entered: Session): Promise<void> {
  session.value = entered;
  ending.value = undefined;
  server.value = await get<ServerInfo>("/api/v1/server");
}
