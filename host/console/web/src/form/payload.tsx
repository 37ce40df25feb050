// The input of a function that takes bytes: a text or a file, with its media type.

import { type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useId } from "preact/hooks";

import { bytes } from "../format.ts";
import { FileButton } from "./file.tsx";

/** Bytes with their media type. */
export interface Payload {
  mediaType: string;
  text: string;
  /** The file that is sent in place of the text. */
  file?: File;
}

export const EMPTY_PAYLOAD: Payload = { mediaType: "text/plain; charset=utf-8", text: "" };

const MEDIA_TYPES = ["text/plain; charset=utf-8", "application/json", "application/octet-stream", "image/png", "text/csv"];

/** Tells whether a media type can be sent: a header of a request has visible ASCII alone. */
export function isSendable({ mediaType }: Payload): boolean {
  return /^[\x20-\x7e\t]*$/.test(mediaType);
}

export function PayloadInput({ payload }: { payload: Signal<Payload> }): JSX.Element {
  const id = useId();
  const { mediaType, text, file } = payload.value;
  const isWrong = !isSendable(payload.value);
  const change = (part: Partial<Payload>) => {
    payload.value = { ...payload.value, ...part };
  };
  const choose = async (file: File) => change({ file, mediaType: file.type || "application/octet-stream" });
  const { file: _file, ...withoutFile } = payload.value;
  return (
    <div class="form-pane">
      <div class="field">
        <div class="field-head">
          <label for={`${id}:type`}>Media type</label>
        </div>
        {isWrong && (
          <p class="mistake" id={`${id}:mistake`}>
            A media type has only letters from a to z, digits and signs.
          </p>
        )}
        <input
          id={`${id}:type`}
          value={mediaType}
          list={`${id}:types`}
          autocomplete="off"
          onInput={(event) => change({ mediaType: event.currentTarget.value })}
          aria-invalid={isWrong ? "true" : undefined}
          aria-describedby={isWrong ? `${id}:mistake` : undefined}
        />
        <datalist id={`${id}:types`}>
          {MEDIA_TYPES.map((it) => (
            <option key={it} value={it} />
          ))}
        </datalist>
      </div>
      <div class="field">
        <div class="field-head">
          <label for={`${id}:text`}>Input</label>
          <FileButton label="From a file: Input" onFile={choose}>
            From a file
          </FileButton>
        </div>
        {file ? (
          <p class="row">
            <output id={`${id}:text`}>
              {file.name}, {bytes(file.size)}
            </output>
            <button type="button" class="small" onClick={() => (payload.value = withoutFile)}>
              Use a text instead
            </button>
          </p>
        ) : (
          <textarea
            id={`${id}:text`}
            class="code grows"
            rows={4}
            spellcheck={false}
            value={text}
            onInput={(event) => change({ text: event.currentTarget.value })}
          />
        )}
      </div>
    </div>
  );
}
