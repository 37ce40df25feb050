// A question before a change, and what went wrong if the server doesn't make it.

import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { Refused, sentence } from "../api/problem.ts";
import { Dialog } from "./dialog.tsx";
import { notify } from "./notice.tsx";
import { ErrorBox } from "./problem.tsx";

interface ConfirmProps {
  title: string;
  action: string;
  isDangerous?: boolean;
  onConfirm: () => Promise<void>;
  onClose: () => void;
  children?: ComponentChildren;
}

export function Confirm({ title, action, isDangerous, onConfirm, onClose, children }: ConfirmProps): JSX.Element {
  const isBusy = useSignal(false);
  const error = useSignal<unknown>(undefined);
  const isGone = useRef(false);
  useEffect(() => () => void (isGone.current = true), []);
  const confirm = async () => {
    isBusy.value = true;
    error.value = undefined;
    try {
      await onConfirm();
      if (!isGone.current) onClose();
    } catch (reason) {
      if (isGone.current) notify(sentence(reason));
      else error.value = reason;
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      {error.value !== undefined && <ErrorBox error={error.value} />}
      {error.value !== undefined && !(error.value instanceof Refused) && (
        <p>The server may have made the change all the same. Look before you try again.</p>
      )}
      <div class="row actions">
        <button
          type="button"
          class={isDangerous ? "danger" : "primary"}
          disabled={isBusy.value}
          onClick={() => void confirm()}
          autofocus={!isDangerous}
        >
          {action}
        </button>
        <button type="button" onClick={onClose} autofocus={isDangerous ?? false}>
          Cancel
        </button>
      </div>
    </Dialog>
  );
}
