// Deploys of components that are dropped on the page.
//
// ```text
// asked --upload--> sent --compile--> the new version, or the refusal
// ```

import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId } from "preact/hooks";

import { Refused, errorOf } from "../api/problem.ts";
import { failureOf, tell } from "../api/request.ts";
import { may, session } from "../api/session.ts";
import type { FunctionVersion } from "../api/wire.ts";
import { bytes, plural } from "../format.ts";
import { changed, functions, load } from "../functions.ts";
import { Dialog } from "../parts/dialog.tsx";
import { notify } from "../parts/notice.tsx";
import { ErrorBox } from "../parts/problem.tsx";
import { functionHref, go } from "../route.ts";
import { type Offer, close, current, isBusy, offer, waiting } from "./deploy-files.ts";

/** The page, on which files may be dropped. */
export function DropTarget({ children }: { children: ComponentChildren }): JSX.Element {
  const isOver = useSignal(false);
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    // A browser leaves the page and opens the file otherwise, for any session.
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      isOver.value = may("admin");
      if (event.dataTransfer && !isOver.value) event.dataTransfer.dropEffect = "none";
    };
    const leave = (event: DragEvent) => {
      // The pointer has left the window, not only an element.
      if (event.relatedTarget === null) isOver.value = false;
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      isOver.value = false;
      const files = [...(event.dataTransfer?.files ?? [])];
      if (may("admin")) offer(files);
      else if (session.value) notify("Your token may not deploy. Its scope would have to be “admin”.");
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
      {current.value && <DeployDialog key={current.value.id} offer={current.value} />}
    </>
  );
}

type State =
  | { at: "asked" }
  | { at: "sending"; share: number }
  | { at: "checking" }
  | { at: "done"; version: FunctionVersion }
  | { at: "failed"; error: unknown };

function DeployDialog({ offer: chosen }: { offer: Offer }): JSX.Element {
  const id = useId();
  const name = useSignal(chosen.name);
  const state = useSignal<State>({ at: "asked" });
  useEffect(() => void load().catch(() => {}), []);
  const existing = functions.value?.find((it) => it.name === name.value);
  const isValid = /^[a-z0-9][a-z0-9-]{0,62}$/.test(name.value);
  const leave = () => close(chosen);
  const deploy = () => {
    upload(name.value, chosen.file, (next) => {
      state.value = next;
      isBusy.value = next.at === "sending" || next.at === "checking";
      if (next.at === "done") void changed();
    });
  };
  // A session that ends takes the dialog with it.
  useEffect(() => () => void (isBusy.value = false), []);
  if (state.value.at === "done") return <Done version={state.value.version} onClose={leave} />;
  return (
    <Dialog
      title="Deploy a component"
      onClose={isBusy.value ? () => notify("The deploy goes on. Wait for its end.") : leave}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isValid && !isBusy.value) deploy();
        }}
      >
        <p>
          <code>{chosen.file.name}</code>, {bytes(chosen.file.size)}
        </p>
        {waiting.value > 0 && <p class="muted">{plural(waiting.value, "file waits", "files wait")} after it.</p>}
        <div class="field">
          <div class="field-head">
            <label for={id}>Name of the function</label>
          </div>
          <input
            id={id}
            value={name.value}
            autocomplete="off"
            spellcheck={false}
            autofocus
            disabled={isBusy.value}
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
          <button type="submit" class="primary" disabled={!isValid || isBusy.value}>
            {state.value.at === "failed" ? "Try again" : "Deploy"}
          </button>
          <button type="button" disabled={isBusy.value} onClick={leave}>
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
    case "failed":
      return <ErrorBox error={state.error} {...(state.error instanceof Refused ? { title: "The server refused it" } : {})} />;
    default:
      return null;
  }
}

interface DoneProps {
  version: FunctionVersion;
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
function upload(name: string, component: File, show: (state: State) => void): void {
  const request = new XMLHttpRequest();
  request.open("PUT", `/api/v1/functions/${encodeURIComponent(name)}`);
  request.setRequestHeader("content-type", "application/wasm");
  request.upload.addEventListener("progress", (event) => show({ at: "sending", share: event.loaded / event.total }));
  request.upload.addEventListener("load", () => show({ at: "checking" }));
  request.addEventListener("load", () => {
    const { status, responseText } = request;
    tell(status);
    try {
      if (status >= 300) throw errorOf(status, responseText);
      show({ at: "done", version: JSON.parse(responseText) as FunctionVersion });
    } catch (error) {
      show({ at: "failed", error });
    }
  });
  request.addEventListener("error", () => void failureOf(component).then((error) => show({ at: "failed", error })));
  show({ at: "sending", share: 0 });
  request.send(component);
}
