// Who is signed in.
//
// ```text
// unknown --ask--> signed in <--sign in--> signed out
// ```

import { signal } from "@preact/signals";

import type { Scope, ServerInfo, Session } from "./wire.ts";
import { get, send, succeed, whenSignedOut } from "./request.ts";
import { Refused, problemOf } from "./problem.ts";

/** The session; null if nobody is signed in; undefined until the server has said so. */
export const session = signal<Session | null | undefined>(undefined);

/** The server, once it is known. */
export const server = signal<ServerInfo | undefined>(undefined);

const SCOPES: Scope[] = ["read", "invoke", "admin"];

/** Tells whether the session may do what requires `scope`. */
export function may(scope: Scope): boolean {
  const held = session.value?.scope;
  return held !== undefined && SCOPES.indexOf(held) >= SCOPES.indexOf(scope);
}

whenSignedOut(() => {
  session.value = null;
});

/** Asks the server who is signed in. */
export async function ask(): Promise<void> {
  const response = await send("GET", "/api/v1/session", { isSigningIn: true });
  if (response.status === 401) session.value = null;
  else if (response.ok) await enter((await response.json()) as Session);
  else throw new Refused(problemOf(response.status, await response.text()), response.status);
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
  server.value = await get<ServerInfo>("/api/v1/server");
}
