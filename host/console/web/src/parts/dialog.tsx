// A dialog above the page. The browser keeps the focus in it and returns it afterwards.

import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

import { Notices, dialogs } from "./notice.tsx";

interface DialogProps {
  title: string;
  /** Called when the dialog is closed by Escape or by its button. */
  onClose: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, children }: DialogProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const isGone = useRef(false);
  const heading = useId();
  useLayoutEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    shown?.showModal();
    dialogs.value += 1;
    return () => {
      isGone.current = true;
      dialogs.value -= 1;
      shown?.close();
      // The element is gone with the dialog before the browser returns the focus itself.
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClose={() => {
        // A browser closes a dialog at the second Escape whatever the page says.
        if (isGone.current || dialog.current?.open) return;
        dialog.current?.showModal();
        onClose();
      }}
    >
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        <button type="button" class="quiet" onClick={onClose} aria-label="Close">
          ✕
        </button>
      </header>
      {children}
      <Notices isInDialog />
    </dialog>
  );
}
