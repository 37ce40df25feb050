// The statistics of one function, followed while its tab is open.

import { useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useRef } from "preact/hooks";

import { get } from "../api/request.ts";
import { may } from "../api/session.ts";
import type { CacheReport, Counts, FunctionCache, LoggedCall, Source } from "../api/wire.ts";
import { bytes, clock, count, duration, energy, percent, plural, rate } from "../format.ts";
import { recentOf, stats } from "../live.ts";
import { Chart } from "../parts/chart.tsx";
import { Figure, Figures } from "../parts/figure.tsx";
import { Loaded, useReading } from "../parts/load.tsx";
import { Prose } from "../parts/prose.tsx";
import { functionHref } from "../route.ts";
import { stepsOf, withSample } from "../samples.ts";
import { type Sample, activity, hitRatio, quantile, quantileText } from "../stats.ts";
import { ClearCache } from "./clear-cache.tsx";

export function StatsTab({ name }: { name: string }): JSX.Element {
  const samples = useSignal<Sample<Counts>[]>(recentOf(name));
  const current = stats.value;
  const newest = current?.functions[name];
  // The stats of the whole server hold those of the function: nothing else has to be asked for.
  useSignalEffect(() => {
    const sample = stats.value;
    const counts = sample?.functions[name];
    const isNew = sample?.at_unix_us !== samples.peek().at(-1)?.atUs;
    if (sample && counts && isNew) samples.value = withSample(samples.peek(), { atUs: sample.at_unix_us, counts });
  });
  if (!current) return <p class="muted">Loading…</p>;
  return (
    <>
      {newest ? (
        <Counted counts={newest} samples={samples.value} bounds={current.bucket_bounds_us} />
      ) : (
        <p class="empty">It hasn't been called since the server started.</p>
      )}
      <LastErrors name={name} />
      <Cache name={name} />
    </>
  );
}

const SOURCES: Record<Source, string> = {
  memory: "from memory",
  disk: "from disk",
  merged: "merged with an identical call",
  miss: "ran, no cached result",
  uncached: "ran, not cached",
  refused: "refused before it ran",
};

function Counted({ counts, samples, bounds }: { counts: Counts; samples: Sample<Counts>[]; bounds: number[] }) {
  const steps = stepsOf(samples);
  const times = steps.map((it) => it.time);
  const activities = steps.map(({ before, sample }) => before && activity(before, sample));
  const smooth = steps.map(({ first, sample }) => first && activity(first, sample));
  const spread = (share: number) => smooth.map((it) => quantile(it?.phases.run, bounds, share) ?? null);
  const sources = Object.entries(SOURCES) as [Source, string][];
  return (
    <>
      <div class="charts">
        <Chart
          title="Calls per second"
          times={times}
          text={rate}
          lines={[
            { name: "calls", colour: 1, values: activities.map((it) => (it ? it.calls / it.seconds : null)) },
            { name: "errors", colour: 3, values: activities.map((it) => (it ? it.errors / it.seconds : null)) },
          ]}
        />
        <Chart
          title="Time to run"
          times={times}
          text={duration}
          lines={[
            { name: "median", colour: 1, values: spread(0.5) },
            { name: "99th percentile", colour: 4, values: spread(0.99) },
          ]}
        />
      </div>
      <h2>Since the server's start</h2>
      <Figures>
        <Figure name="Input" value={bytes(counts.input_bytes)} />
        <Figure name="Answers" value={bytes(counts.output_bytes)} />
        <Figure name="Processor time" value={duration(counts.cpu_us)} note={`${energy(counts.energy_joules)}, modelled`} />
        <Figure name="Saved by the cache" value={duration(counts.saved_us)} note={`${energy(counts.saved_energy_joules)}, modelled`} />
        <Figure name="Cache hits" value={percent(hitRatio(counts.sources))} />
        <Figure name="Fast lane" value={count(counts.lanes.fast)} note={`${plural(counts.restarts, "restart")}`} />
        <Figure name="Compute lane" value={count(counts.lanes.compute)} />
      </Figures>
      <div class="columns">
        <Phases counts={counts} bounds={bounds} />
        <section aria-labelledby="sources">
          <h3 id="sources">Answers by source</h3>
          <dl class="facts">
            {sources.map(([source, text]) => (
              <div key={source}>
                <dt>{text}</dt>
                <dd>{count(counts.sources[source])}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
    </>
  );
}

function Phases({ counts, bounds }: { counts: Counts; bounds: number[] }): JSX.Element {
  const phases = [
    ["queue", "Waiting for a thread"],
    ["load", "Loading code"],
    ["start", "Creating the instance"],
    ["run", "Running"],
  ] as const;
  return (
    <section aria-labelledby="phases">
      <h3 id="phases">Phases of a call</h3>
      <div class="scrolls" tabIndex={0} role="group" aria-labelledby="phases">
        <table>
          <thead>
            <tr>
              <th scope="col">Phase</th>
              <th scope="col" class="num">
                Calls
              </th>
              <th scope="col" class="num">
                Median
              </th>
              <th scope="col" class="num" title="99th percentile: 99 % of the calls took no longer">
                p99
              </th>
            </tr>
          </thead>
          <tbody>
            {phases.map(([phase, text]) => {
              const histogram = counts.phases[phase];
              const calls = histogram.counts.reduce((sum, it) => sum + it, 0);
              const time = (share: number) => quantileText(histogram, bounds, share);
              return (
                <tr key={phase}>
                  <th scope="row">{text}</th>
                  <td class="num">{count(calls)}</td>
                  <td class="num">{time(0.5)}</td>
                  <td class="num">{time(0.99)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** The most errors that the tab shows. */
const ERRORS_MAX = 5;

function LastErrors({ name }: { name: string }): JSX.Element {
  // Only the calls after those that are known are asked for.
  const known = useRef<{ failed: LoggedCall[]; afterUs: number }>({ failed: [], afterUs: 0 });
  const ask = async () => {
    const path = `/api/v1/functions/${encodeURIComponent(name)}/logs?after_unix_us=${known.current.afterUs}`;
    const { calls } = await get<{ calls: LoggedCall[] }>(path);
    // Another question may have been answered in between.
    const { failed, afterUs } = known.current;
    const added = calls.filter((it) => it.at_unix_us > afterUs && it.outcome !== "ok");
    const all = [...failed, ...added].slice(-ERRORS_MAX);
    known.current = { failed: all, afterUs: Math.max(afterUs, calls.at(-1)?.at_unix_us ?? 0) };
    return all;
  };
  const reading = useReading(
    ask,
    `${name} ${stats.value?.functions[name]?.errors ?? 0}`,
  );
  const codes = Object.entries(stats.value?.functions[name]?.errors_by_code ?? {});
  return (
    <section aria-labelledby="last-errors">
      <h2 id="last-errors">Last errors</h2>
      {codes.length > 0 && (
        <p class="row">
          {codes.map(([code, number]) => (
            <span key={code} class="tag bad">
              {code} {count(number)}
            </span>
          ))}
        </p>
      )}
      <Loaded reading={reading}>
        {(all) => {
          const failed = all.toReversed();
          if (failed.length === 0) return <p class="muted">No call has failed by the function's fault, as far as the log goes back.</p>;
          return (
            <>
              <ul class="plain-list">
                {failed.map((it) => (
                  <li key={it.at_unix_us}>
                    <span class="muted">{clock(it.at_unix_us)}</span> <Prose text={it.outcome} />
                  </li>
                ))}
              </ul>
              <a href={functionHref(name, "log")}>All in the log</a>
            </>
          );
        }}
      </Loaded>
    </section>
  );
}

function Cache({ name }: { name: string }): JSX.Element {
  const reading = useReading(() => get<CacheReport>("/api/v1/cache"), name);
  return (
    <section aria-labelledby="cached">
      <h2 id="cached">Cached results</h2>
      <Loaded reading={reading}>
        {(report) => {
          const found: FunctionCache | undefined = report.functions.find((it) => it.name === name);
          return (
            <div class="row">
              <span>
                {found
                  ? `${plural(found.entries, "result")} in memory (${bytes(found.bytes)}), ${plural(found.disk_entries, "result")} on disk (${bytes(found.disk_bytes)})`
                  : "None"}
              </span>
              {may("admin") && <ClearCache name={name} onCleared={() => void reading.again()} />}
            </div>
          );
        }}
      </Loaded>
    </section>
  );
}
