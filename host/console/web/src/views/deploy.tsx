// Deploys of components that are dropped on the page.
//
// ```text
// asked --upload--> sent --compile--> the new version, or the refusal
// ```

import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId } from "preact/hooks";

import { type Problem, problemOf } from "../api/problem.ts";
import { may, session } from "../api/session.ts";
import type { FunctionVersion } from "../api/wire.ts";
import { bytes } from "../format.ts";
import { changed, functions, load } from "../functions.ts";
import { Dialog } from "../parts/dialog.tsx";
import { notify } from "../parts/notice.tsx";
import { ErrorBox, ProblemBox } from "../parts/problem.tsx";
import { functionHref, go } from "../route.ts";
import { file, nameFrom, offer, wantedName } from "./deploy-files.ts";

/** The page, on which files may be dropped. */
export function DropTarget({ children }: { children: ComponentChildren }): JSX.Element {
  const isOver = useSignal(false);
  useEffect(() => {
    const hasFiles = (event: DragEvent) => may("admin") && (event.dataTransfer?.types.includes("Files") ?? false);
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      isOver.value = true;
    };
    const leave = (event: DragEvent) => {
      // The pointer has left the window, not only an element.
      if (event.relatedTarget === null) isOver.value = false;
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      isOver.value = false;
      const dropped = event.dataTransfer?.files[0];
      if (dropped) offer(dropped);
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);
  return (
    <>
      {children}
      {isOver.value && (
        <div class="drop-hint" aria-hidden="true">
          <p>Drop the component to deploy it</p>
        </div>
      )}
      {file.value && session.value && may("admin") && (
        <DeployDialog key={file.value.name} file={file.value} name={wantedName.value ?? nameFrom(file.value.name)} />
      )}
    </>
  );
}

type State =
  | { at: "asked" }
  | { at: "sending"; share: number }
  | { at: "checking" }
  | { at: "done"; version: FunctionVersion }
  | { at: "refused"; problem: Problem }
  | { at: "failed"; error: Error };

function DeployDialog({ file: chosen, name: first }: { file: File; name: string }): JSX.Element {
  const id = useId();
  const name = useSignal(first);
  const state = useSignal<State>({ at: "asked" });
  useEffect(() => void (functions.value ?? load().catch(() => {})), []);
  const existing = functions.value?.find((it) => it.name === name.value);
  const isValid = /^[a-z0-9][a-z0-9-]{0,62}$/.test(name.value);
  const isBusy = state.value.at === "sending" || state.value.at === "checking";
  const close = () => {
    file.value = undefined;
  };
  const deploy = () => {
    upload(name.value, chosen, (next) => {
      state.value = next;
      if (next.at === "done") void changed().catch(() => {});
    });
  };
  if (state.value.at === "done") return <Done version={state.value.version} existing={existing} onClose={close} />;
  return (
    <Dialog title="Deploy a component" onClose={isBusy ? () => notify("The deploy goes on. Wait for its end.") : close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isValid && !isBusy) deploy();
        }}
      >
        <p>
          <code>{chosen.name}</code>, {bytes(chosen.size)}
        </p>
        <div class="field">
          <div class="field-head">
            <label for={id}>Name of the function</label>
          </div>
          <input
            id={id}
            value={name.value}
            autocomplete="off"
            spellcheck={false}
            disabled={isBusy}
            onInput={(event) => (name.value = event.currentTarget.value)}
            aria-invalid={isValid ? undefined : "true"}
            aria-describedby={`${id}:note`}
          />
          <p id={`${id}:note`} class={isValid ? "muted" : "mistake"}>
            {!isValid
              ? "A name has letters from a to z, digits and hyphens, and begins with a letter or a digit."
              : existing
                ? `Replaces ${existing.version}, which stays available for a roll back.`
                : "A new function."}
          </p>
        </div>
        <Progress state={state.value} />
        <div class="row actions">
          <button type="submit" class="primary" disabled={!isValid || isBusy}>
            {state.value.at === "refused" || state.value.at === "failed" ? "Try again" : "Deploy"}
          </button>
          <button type="button" disabled={isBusy} onClick={close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Progress({ state }: { state: State }): JSX.Element | null {
  const label = useId();
  switch (state.at) {
    case "sending":
      return (
        <p role="status">
          <span id={label}>Sending…</span> <progress value={state.share} max={1} aria-labelledby={label} />
        </p>
      );
    case "checking":
      return (
        <p role="status">
          <span id={label}>The server checks and compiles it…</span> <progress aria-labelledby={label} />
        </p>
      );
    case "refused":
      return <ProblemBox problem={state.problem} title="The server refused it" />;
    case "failed":
      return <ErrorBox error={state.error} />;
    default:
      return null;
  }
}

interface DoneProps {
  version: FunctionVersion;
  existing: FunctionVersion | undefined;
  onClose: () => void;
}

function Done({ version, onClose }: DoneProps): JSX.Element {
  const open = () => {
    onClose();
    go(functionHref(version.name, version.pipeline ? "steps" : "call"));
  };
  return (
    <Dialog title="Deployed" onClose={onClose}>
      <p role="status">
        <strong>
          {version.name}@{version.version}
        </strong>{" "}
        is the current version now.
      </p>
      <p>
        <code>{version.signature}</code>
      </p>
      {version.notes.length > 0 && (
        <ul class="muted">
          {version.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      <div class="row actions">
        {/* The button is there for the keyboard: the focus is on it. */}
        <button type="button" class="primary" onClick={open} autofocus>
          Open {version.name}
        </button>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

/** Sends a component. Only XMLHttpRequest tells how much of a body has been sent. */
function upload(name: string, component: File, tell: (state: State) => void): void {
  const request = new XMLHttpRequest();
  request.open("PUT", `/api/v1/functions/${encodeURIComponent(name)}`);
  request.setRequestHeader("content-type", "application/wasm");
  request.upload.addEventListener("progress", (event) => tell({ at: "sending", share: event.loaded / event.total }));
  request.upload.addEventListener("load", () => tell({ at: "checking" }));
  request.addEventListener("load", () => {
    if (request.status === 401) session.value = null;
    else if (request.status >= 400) tell({ at: "refused", problem: problemOf(request.status, request.responseText) });
    else tell({ at: "done", version: JSON.parse(request.responseText) as FunctionVersion });
  });
  request.addEventListener("error", () => tell({ at: "failed", error: new Error("The connection to the server broke off") }));
  tell({ at: "sending", share: 0 });
  request.send(component);
}
