// Signing in with a token, or by the one-time link that `nebula up` prints.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import { Refused, sentence } from "../api/problem.ts";
import { ask, ending, signIn } from "../api/session.ts";
import { Prose } from "../parts/prose.tsx";
import { replace, route } from "../route.ts";

export function SignIn(): JSX.Element {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const token = useSignal("");
  const error = useSignal<string | undefined>(undefined);
  const isBusy = useSignal(false);

  const enter = async (secret: { token: string } | { code: string }) => {
    isBusy.value = true;
    error.value = undefined;
    try {
      await signIn(secret);
    } catch (reason) {
      // A user with a session may open an old link.
      if ("code" in secret) await ask().catch(() => {});
      const isUnknown = reason instanceof Refused && reason.kind === "unauthorized";
      error.value = isUnknown ? "The server doesn't have this token. Look for a typing mistake." : sentence(reason);
      input.current?.focus();
    } finally {
      isBusy.value = false;
    }
  };

  const { value: shown } = route;
  useEffect(() => {
    if (shown.view !== "sign-in" || shown.code === undefined) return;
    // The code works once: it must not stay in the address or the history.
    replace("#/");
    void enter({ code: shown.code });
  }, [shown]);

  return (
    <main class="sign-in" id="main" tabIndex={-1}>
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          if (token.value.trim() !== "") void enter({ token: token.value.trim() });
        }}
      >
        <h1>Sign in to Nebula</h1>
        {ending.value && (
          <p class="box warn" role="status">
            {ending.value}
          </p>
        )}
        <div class="field">
          <div class="field-head">
            <label for={id}>Token</label>
          </div>
          <input
            id={id}
            ref={input}
            type="password"
            autocomplete="current-password"
            spellcheck={false}
            value={token.value}
            onInput={(event) => (token.value = event.currentTarget.value)}
            aria-invalid={error.value ? "true" : undefined}
            aria-describedby={`${id}:help ${error.value ? `${id}:error` : ""}`}
          />
          {error.value && (
            <p class="mistake" id={`${id}:error`} role="alert">
              <Prose text={error.value} />
            </p>
          )}
          <p class="muted" id={`${id}:help`}>
            The first token is in the file <code>token</code> of the server's data directory.{" "}
            <code>nebula token create</code> makes others.
          </p>
        </div>
        <button type="submit" class="primary wide" disabled={isBusy.value}>
          {isBusy.value ? "Signing in…" : "Sign in"}
        </button>
      </form>
    </main>
  );
}
