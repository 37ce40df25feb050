// One function: its signature and text, and tabs for what can be done with it.

import type { JSX } from "preact";

import { getExact } from "../api/request.ts";
import type { FunctionDetail, FunctionVersion } from "../api/wire.ts";
import { bytes, count, energy, percent, rate } from "../format.ts";
import { changes } from "../functions.ts";
import { keyOf } from "../kept.ts";
import { now, stats } from "../live.ts";
import { Figure, Figures } from "../parts/figure.tsx";
import { Loaded, useFollowing } from "../parts/load.tsx";
import { Markdown } from "../parts/markdown.tsx";
import { type Tab, functionHref } from "../route.ts";
import { hitRatio, quantileText } from "../stats.ts";
import { AboutTab } from "./about.tsx";
import { CallTab } from "./call.tsx";
import { LogTab } from "./log.tsx";
import { StatsTab } from "./stats-tab.tsx";
import { StepsTab } from "./steps.tsx";
import type { Tagged } from "./tagged.ts";
import { VersionsTab } from "./versions.tsx";

/** The time between two readings of the function, which others may deploy. */
const PAUSE_MS = 10_000;

export function FunctionView({ name, tab }: { name: string; tab: Tab }): JSX.Element {
  const path = `/api/v1/functions/${encodeURIComponent(name)}`;
  const ask = async (stopped: AbortSignal): Promise<Tagged> => {
    const { document, tag } = await getExact<FunctionDetail>(path, stopped);
    return { detail: document, tag };
  };
  const reading = useFollowing(ask, PAUSE_MS, `${name} ${changes.value}`);
  return (
    <Loaded reading={reading}>
      {(tagged) => (
        <>
          <Summary version={tagged.detail.current} />
          <Tabs version={tagged.detail.current} tab={tab} />
          <div class="tab">
            <Content tagged={tagged} tab={tab} />
          </div>
        </>
      )}
    </Loaded>
  );
}

function Content({ tagged, tab }: { tagged: Tagged; tab: Tab }): JSX.Element {
  const { current } = tagged.detail;
  // A deploy of the same type, as `nebula up` makes one at each change, keeps the form and the answer.
  const key = keyOf(current);
  switch (tab) {
    case "call":
      return <CallTab key={key} version={current} />;
    case "steps":
      return <StepsTab key={key} version={current} />;
    case "stats":
      return <StatsTab key={current.name} name={current.name} />;
    case "log":
      return <LogTab key={current.name} name={current.name} />;
    case "versions":
      return <VersionsTab tagged={tagged} />;
    case "about":
      return <AboutTab detail={tagged.detail} />;
  }
}

function Summary({ version }: { version: FunctionVersion }): JSX.Element {
  const counts = stats.value?.functions[version.name];
  const bounds = stats.value?.bucket_bounds_us ?? [];
  const activity = now.value.get(version.name);
  const time = (share: number) => quantileText(counts?.phases.run, bounds, share);
  return (
    <>
      <pre class="signature-box" tabIndex={0} aria-label="Signature">
        {version.signature}
      </pre>
      {version.docs && (
        <div class="docs lead">
          <Markdown text={version.docs} under={1} />
        </div>
      )}
      <Figures isDense>
        <Figure name="Version" value={version.version} note={bytes(version.size_bytes)} />
        <Figure
          name="Calls"
          value={count(counts?.calls ?? 0)}
          note={activity ? `${rate(activity.calls / activity.seconds)} now` : undefined}
        />
        <Figure name="Time to run" value={time(0.5)} note={`p99: ${time(0.99)}`} />
        <Figure name="Errors" value={count(counts?.errors ?? 0)} />
        <Figure name="Cold starts" value={count(counts?.cold_starts ?? 0)} />
        <Figure name="Cache hits" value={counts ? percent(hitRatio(counts.sources)) : "–"} />
        <Figure name="Energy" value={energy(counts?.energy_joules ?? 0)} note="modelled" />
      </Figures>
    </>
  );
}

const NAMES: Record<Tab, string> = {
  call: "Call",
  steps: "Steps",
  stats: "Statistics",
  log: "Log",
  versions: "Versions",
  about: "About",
};

function Tabs({ version, tab }: { version: FunctionVersion; tab: Tab }): JSX.Element {
  const tabs: Tab[] = version.pipeline
    ? ["steps", "call", "stats", "log", "versions", "about"]
    : ["call", "stats", "log", "versions", "about"];
  return (
    <nav class="tabs" aria-label={`Views of ${version.name}`}>
      {tabs.map((it) => (
        <a key={it} href={functionHref(version.name, it)} aria-current={it === tab ? "page" : undefined}>
          {NAMES[it]}
        </a>
      ))}
    </nav>
  );
}
