// The tokens of the control plane, for those who may change them.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import { get, sendJson, succeed } from "../api/request.ts";
import type { Scope, TokenInfo } from "../api/wire.ts";
import { date } from "../format.ts";
import { Confirm } from "../parts/confirm.tsx";
import { Copy } from "../parts/copy.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { Loaded, useReading } from "../parts/load.tsx";
import { notify } from "../parts/notice.tsx";
import { ErrorBox } from "../parts/problem.tsx";

const SCOPES: Record<Scope, string> = {
  read: "read: look at everything but tokens",
  invoke: "invoke: call functions too",
  admin: "admin: change everything",
};

const DAY_S = 24 * 60 * 60;
const TERMS: [string, number | undefined][] = [
  ["30 days", 30 * DAY_S],
  ["1 day", DAY_S],
  ["1 year", 365 * DAY_S],
  ["never", undefined],
];

export function Tokens(): JSX.Element {
  const reading = useReading(() => get<{ tokens: TokenInfo[] }>("/api/v1/tokens"), 0);
  const isCreating = useSignal(false);
  const revoking = useSignal<string | undefined>(undefined);
  return (
    <>
      <p class="row">
        <button type="button" class="primary" onClick={() => (isCreating.value = true)}>
          Create a token…
        </button>
      </p>
      <Loaded reading={reading}>
        {({ tokens }) => (
          <div class="scrolls" tabIndex={0} role="group" aria-label="Table of tokens">
            <table>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">Change</th>
                  <th scope="col">Scope</th>
                  <th scope="col">Created</th>
                  <th scope="col">Expires</th>
                  <th scope="col">Last used</th>
                </tr>
              </thead>
              <tbody>
                {tokens.map((it) => (
                  <tr key={it.name}>
                    <th scope="row">
                      {it.name} {it.expired && <span class="tag bad">expired</span>}
                    </th>
                    <td>
                      {!it.built_in && (
                        <button
                          type="button"
                          class="small"
                          onClick={() => (revoking.value = it.name)}
                          aria-label={`Revoke ${it.name}`}
                        >
                          Revoke…
                        </button>
                      )}
                    </td>
                    <td>{it.scope}</td>
                    <td class="nowrap">{it.created_at_unix_s ? date(it.created_at_unix_s) : "with the server"}</td>
                    <td class="nowrap">{it.expires_at_unix_s ? date(it.expires_at_unix_s) : "never"}</td>
                    <td class="nowrap">{it.last_used_at_unix_s ? date(it.last_used_at_unix_s) : "–"}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
      {isCreating.value && <Create onClose={() => (isCreating.value = false)} onCreated={() => void reading.again()} />}
      {revoking.value && (
        <Confirm
          title={`Revoke the token ${revoking.value}?`}
          action="Revoke"
          isDangerous
          onClose={() => (revoking.value = undefined)}
          onConfirm={async () => {
            await succeed("DELETE", `/api/v1/tokens/${revoking.value}`);
            notify(`Revoked ${revoking.value}.`);
            await reading.again();
          }}
        >
          <p>Requests with it are refused from then on, and sessions that began with it end.</p>
        </Confirm>
      )}
    </>
  );
}

/** The token that was just created. It gets the focus, so that a screen reader reads it. */
function Secret({ secret, onClose }: { secret: string; onClose: () => void }): JSX.Element {
  const text = useRef<HTMLDivElement>(null);
  useEffect(() => text.current?.focus(), []);
  return (
    <Dialog title="The token" onClose={onClose}>
      <div ref={text} tabIndex={-1} role="group" aria-label="The token">
        <p>Keep it now: it is shown only this once.</p>
        <p>
          <code class="breaks">{secret}</code>
        </p>
      </div>
      <div class="row actions">
        <Copy text={secret} what="the token" />
        <button type="button" class="primary" onClick={onClose}>
          Done
        </button>
      </div>
    </Dialog>
  );
}

function Create({ onClose, onCreated }: { onClose: () => void; onCreated: () => void }): JSX.Element {
  const id = useId();
  const name = useSignal("");
  const scope = useSignal<Scope>("read");
  const term = useSignal(0);
  const secret = useSignal<string | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const create = async () => {
    const expires = TERMS[term.value]?.[1];
    const request = { name: name.value, scope: scope.value, ...(expires ? { expires_in_s: expires } : {}) };
    try {
      secret.value = (await sendJson<{ secret: string }>("POST", "/api/v1/tokens", request))?.secret;
      onCreated();
    } catch (reason) {
      error.value = reason;
    }
  };
  if (secret.value !== undefined) return <Secret secret={secret.value} onClose={onClose} />;
  return (
    <Dialog title="Create a token" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <div class="field">
          <div class="field-head">
            <label for={`${id}:name`}>Name</label>
          </div>
          <input
            id={`${id}:name`}
            required
            autofocus
            autocomplete="off"
            spellcheck={false}
            value={name.value}
            onInput={(event) => (name.value = event.currentTarget.value)}
          />
        </div>
        <div class="field">
          <div class="field-head">
            <label for={`${id}:scope`}>Scope</label>
          </div>
          <select
            id={`${id}:scope`}
            value={scope.value}
            onChange={(event) => (scope.value = event.currentTarget.value as Scope)}
          >
            {Object.entries(SCOPES).map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <div class="field-head">
            <label for={`${id}:term`}>Expires after</label>
          </div>
          <select
            id={`${id}:term`}
            value={String(term.value)}
            onChange={(event) => (term.value = Number(event.currentTarget.value))}
          >
            {TERMS.map(([text], at) => (
              <option key={text} value={String(at)}>
                {text}
              </option>
            ))}
          </select>
        </div>
        {error.value !== undefined && <ErrorBox error={error.value} title="No token was created" />}
        <div class="row actions">
          <button type="submit" class="primary">
            Create
          </button>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
