// A question before a change, and the refusal if the server doesn't make it.

import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";

import { Dialog } from "./dialog.tsx";
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
  const confirm = async () => {
    isBusy.value = true;
    error.value = undefined;
    try {
      await onConfirm();
      onClose();
    } catch (reason) {
      error.value = reason;
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      {error.value !== undefined && <ErrorBox error={error.value} title="Nothing has changed" />}
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
