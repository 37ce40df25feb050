// The versions of a function: make an earlier one current, or remove all of them.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

import { Refused } from "../api/problem.ts";
import { sendJson, succeed } from "../api/request.ts";
import { may } from "../api/session.ts";
import type { FunctionVersion } from "../api/wire.ts";
import { bytes, date, digest, plural } from "../format.ts";
import { dependants } from "../dependants.ts";
import { changed, functions, load, shortSignature } from "../functions.ts";
import { Confirm } from "../parts/confirm.tsx";
import { notify } from "../parts/notice.tsx";
import { functionHref, go } from "../route.ts";
import { chooseFiles } from "./deploy-files.ts";
import type { Tagged } from "./tagged.ts";

export function VersionsTab({ tagged }: { tagged: Tagged }): JSX.Element {
  const { current, versions } = tagged.detail;
  const target = useSignal<FunctionVersion | undefined>(undefined);
  const isRemoving = useSignal(false);
  return (
    <>
      <div class="scrolls" tabIndex={0} role="group" aria-label="Table of versions">
        <table>
          <thead>
            <tr>
              <th scope="col">Version</th>
              {may("admin") && <th scope="col">Change</th>}
              <th scope="col">Deployed</th>
              <th scope="col" class="num">
                Size
              </th>
              <th scope="col">Signature</th>
              <th scope="col">Digest</th>
            </tr>
          </thead>
          <tbody>
            {versions.toReversed().map((it) => (
              <tr key={it.version}>
                <th scope="row">
                  {it.version} {it.version === current.version && <span class="tag good">current</span>}
                </th>
                {may("admin") && (
                  <td>
                    {it.version !== current.version && (
                      <button
                        type="button"
                        class="small"
                        onClick={() => (target.value = it)}
                      >
                        Make {it.version} current…
                      </button>
                    )}
                  </td>
                )}
                <td class="nowrap">{date(it.deployed_at_unix_s)}</td>
                <td class="num">{bytes(it.size_bytes)}</td>
                <td>
                  <code>{shortSignature(it)}</code>
                </td>
                <td>
                  <code title={it.digest}>{digest(it.digest)}</code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {may("admin") && (
        <p class="row actions">
          {!current.pipeline && (
            <button type="button" onClick={() => chooseFiles(current.name)}>
              Deploy a new version…
            </button>
          )}
          <button type="button" class="danger" onClick={() => (isRemoving.value = true)}>
            Remove {current.name}…
          </button>
        </p>
      )}
      {target.value && <RollBack from={current} to={target.value} onClose={() => (target.value = undefined)} />}
      {isRemoving.value && <Remove tagged={tagged} onClose={() => (isRemoving.value = false)} />}
    </>
  );
}

interface RollBackProps {
  from: FunctionVersion;
  to: FunctionVersion;
  onClose: () => void;
}

function RollBack({ from, to, onClose }: RollBackProps): JSX.Element {
  return (
    <Confirm
      title={`Make ${to.name}@${to.version} current?`}
      action={`Make ${to.version} current`}
      onClose={onClose}
      onConfirm={async () => {
        await sendJson("POST", `/api/v1/functions/${to.name}/rollback`, { version: to.version });
        notify(`${to.name}@${to.version} is current now.`);
        await changed();
      }}
    >
      <p>
        Calls by name reach {to.version} instead of {from.version} from then on. Calls in flight end on {from.version}.
      </p>
      {from.signature !== to.signature && (
        <p>
          Its signature differs: <code>{to.signature}</code>
        </p>
      )}
    </Confirm>
  );
}

/** A function and the pipelines that call it, which have to go first. */
function Remove({ tagged, onClose }: { tagged: Tagged; onClose: () => void }): JSX.Element {
  const { current } = tagged.detail;
  const { name } = current;
  /** Pipelines of which only earlier versions call it, as the server tells. */
  const further = useSignal<string[]>([]);
  const removed = useSignal<string[]>([]);
  const alsoPipelines = useSignal(false);
  useEffect(() => void load().catch(() => {}), []);
  const all = functions.value ?? [];
  const pipelines = dependants(name, all, further.value);
  const linked = all.filter((it) => it.linked?.some((other) => other.name === name));
  const remove = async () => {
    try {
      for (const pipeline of alsoPipelines.value ? pipelines : []) {
        await succeed("DELETE", `/api/v1/functions/${pipeline}`);
        removed.value = [...removed.value, pipeline];
      }
      const headers: Record<string, string> = tagged.tag ? { "if-match": tagged.tag } : {};
      await succeed("DELETE", `/api/v1/functions/${name}`, { headers });
    } catch (error) {
      if (error instanceof Refused && error.kind === "in-use") {
        further.value = (error.problem.pipelines ?? []).map((it) => it.pipeline);
      }
      if (removed.value.length > 0) await changed();
      throw error;
    }
    notify(`Removed ${name}.`);
    go("#/functions");
    await changed();
  };
  return (
    <Confirm
      title={`Remove ${name}?`}
      action={alsoPipelines.value ? `Remove ${name} and ${plural(pipelines.length, "pipeline")}` : `Remove ${name}`}
      isDangerous
      onClose={onClose}
      onConfirm={remove}
    >
      <p>
        All its versions go ({plural(tagged.detail.versions.length, "version")}), and calls of it are answered with 404.
        This can't be undone.
      </p>
      {removed.value.length > 0 && (
        <p role="status">
          <strong>Removed already:</strong> {removed.value.join(", ")}.
        </p>
      )}
      {pipelines.length > 0 && (
        <>
          <p>
            <strong>{plural(pipelines.length, "pipeline calls", "pipelines call")} it</strong>, so the server refuses to
            remove it alone:
          </p>
          <ul>
            {pipelines.map((it) => (
              <li key={it}>
                <a href={functionHref(it, "steps")}>{it}</a>
              </li>
            ))}
          </ul>
          <label class="check">
            <input
              type="checkbox"
              checked={alsoPipelines.value}
              onChange={(event) => (alsoPipelines.value = event.currentTarget.checked)}
            />{" "}
            Remove {pipelines.length === 1 ? "this pipeline" : "these pipelines"} too
          </label>
        </>
      )}
      {linked.length > 0 && (
        <p>
          It is linked into {linked.map((it) => it.name).join(", ")}, which {linked.length === 1 ? "keeps" : "keep"} a copy
          and {linked.length === 1 ? "goes" : "go"} on working.
        </p>
      )}
    </Confirm>
  );
}
