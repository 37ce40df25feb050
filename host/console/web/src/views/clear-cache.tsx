// A button that clears cached results, after a question.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { succeed } from "../api/request.ts";
import { Confirm } from "../parts/confirm.tsx";
import { notify } from "../parts/notice.tsx";

/** Clears the results of one function, or of all. */
export function ClearCache({ name, onCleared }: { name?: string; onCleared: () => void }): JSX.Element {
  const isAsking = useSignal(false);
  const what = name === undefined ? "all cached results" : `the cached results of ${name}`;
  return (
    <>
      <button type="button" class="small" onClick={() => (isAsking.value = true)}>
        Clear {name === undefined ? "all" : "them"}…
      </button>
      {isAsking.value && (
        <Confirm
          title={`Clear ${what}?`}
          action="Clear"
          onClose={() => (isAsking.value = false)}
          onConfirm={async () => {
            await succeed("DELETE", name === undefined ? "/api/v1/cache" : `/api/v1/functions/${name}/cache`);
            notify(`Cleared ${what}.`);
            onCleared();
          }}
        >
          <p>The next calls run again. Their answers stay the same.</p>
        </Confirm>
      )}
    </>
  );
}
