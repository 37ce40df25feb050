// Values from files.

import type { ComponentChildren, JSX } from "preact";
import { useRef } from "preact/hooks";

import { sentence } from "../api/problem.ts";
import { notify } from "../parts/notice.tsx";

/** Returns the text of a file. Any other encoding than UTF-8 would change it without a word. */
export async function textOf(file: File): Promise<string> {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${file.name} isn't a text in UTF-8.`);
  }
}

interface FileButtonProps {
  label: string;
  onFile: (file: File) => Promise<void>;
  children: ComponentChildren;
}

/** A button that asks for a file. */
export function FileButton({ label, onFile, children }: FileButtonProps): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const choose = async (chosen: HTMLInputElement, file: File) => {
    try {
      await onFile(file);
    } catch (error) {
      notify(error instanceof DOMException ? `The browser can't read ${file.name}.` : sentence(error));
    } finally {
      // The same file can be chosen again after it has changed.
      chosen.value = "";
    }
  };
  return (
    <>
      <input
        ref={input}
        type="file"
        hidden
        aria-label={label}
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) void choose(event.currentTarget, file);
        }}
      />
      <button type="button" class="link" aria-label={label} onClick={() => input.current?.click()}>
        {children}
      </button>
    </>
  );
}
