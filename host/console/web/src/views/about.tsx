// The parts and settings of a function's current version.

import type { ComponentChildren, JSX } from "preact";

import type { FunctionDetail, LinkedFunction } from "../api/wire.ts";
import { server } from "../api/session.ts";
import { bytes, date } from "../format.ts";
import { Copy } from "../parts/copy.tsx";
import { functionHref } from "../route.ts";

const FORMS = {
  typed: "typed: values of WIT types",
  raw: "raw: bytes with a media type",
  http: "http: whole HTTP requests",
};

export function AboutTab({ detail }: { detail: FunctionDetail }): JSX.Element {
  const { current, disagreement } = detail;
  const { cache } = current;
  const url = `${server.value?.calls_url ?? ""}/f/${current.name}`;
  const limits = Object.entries(current.limits);
  const config = Object.entries(current.config ?? {});
  return (
    <>
      {disagreement && (
        <div class="box bad">
          <p>
            <strong>Two computations of one call disagreed</strong> ({date(disagreement.at_unix_s)}), so results of this
            version aren't cached.
          </p>
          <p>
            Call: <code>{disagreement.function}</code>
          </p>
        </div>
      )}
      <dl class="facts wide">
        <Fact name="Address">
          <code>{url}</code> <Copy text={url} what="the address" />
        </Fact>
        <Fact name="Digest">
          <code class="breaks">{current.digest}</code> <Copy text={current.digest} what="the digest" />
        </Fact>
        <Fact name="Form">{current.pipeline ? "pipeline" : FORMS[current.form]}</Fact>
        <Fact name="Deployed">
          {date(current.deployed_at_unix_s)}, {bytes(current.size_bytes)}
        </Fact>
        {current.project && <Fact name="Project">{current.project}</Fact>}
        {current.route && <Fact name="Routes">{[...(current.host ?? []), ...current.route].join(", ")}</Fact>}
        <Fact name="Limits">
          {limits.length === 0 ? "the host's defaults" : limits.map(([name, value]) => limitText(name, value)).join(", ")}
        </Fact>
        <Fact name="Caching">
          {cache?.off ? "off" : cache?.ttl_s ? `each result for ${cache.ttl_s} s` : "each result until it is evicted"}
          {cache?.traps && ", and traps"}
        </Fact>
        {config.length > 0 && (
          <Fact name="Configuration">
            {config.map(([name, value]) => (
              <div key={name}>
                <code>
                  {name}={value}
                </code>
              </div>
            ))}
          </Fact>
        )}
        {current.pipeline && (
          <Fact name="Calls">
            {Object.entries(current.pipeline.pinned).map(([name, it]) => (
              <div key={name}>
                <a href={functionHref(name)}>{name}</a> <span class="muted">{it.version}</span>
              </div>
            ))}
          </Fact>
        )}
        {current.linked && (
          <Fact name="Linked in">
            <Linked functions={current.linked} />
          </Fact>
        )}
        <Fact name="Imports">
          {current.imports.length === 0 ? "none" : current.imports.map((it) => <div key={it}><code>{it}</code></div>)}
        </Fact>
        {current.notes.length > 0 && (
          <Fact name="Notes">
            {current.notes.map((it) => (
              <div key={it}>{it}</div>
            ))}
          </Fact>
        )}
      </dl>
    </>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function limitText(name: string, value: number): string {
  const words = name.replace(/_(bytes_)?max$|_ms$/g, "").replaceAll("_", " ");
  return `${words} ${name.endsWith("_ms") ? `${value} ms` : bytes(value)}`;
}

function Linked({ functions }: { functions: LinkedFunction[] }): JSX.Element {
  return (
    <ul class="plain-list">
      {functions.map((it) => (
        <li key={it.name}>
          <a href={functionHref(it.name)}>{it.name}</a> <span class="muted">{it.version}</span>
          {it.linked && <Linked functions={it.linked} />}
        </li>
      ))}
    </ul>
  );
}
