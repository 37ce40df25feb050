// The overview: figures and charts of the server, its busiest functions and its errors.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

import { succeed } from "../api/request.ts";
import { server } from "../api/session.ts";
import type { Phase, ServerStats } from "../api/wire.ts";
import { bytes, count, duration, energy, percent, plural, rate } from "../format.ts";
import { functions, loadIfOld } from "../functions.ts";
import { type ServerSample, history, now, nowAll, stats } from "../live.ts";
import { Chart } from "../parts/chart.tsx";
import { Figure, Figures } from "../parts/figure.tsx";
import { functionHref } from "../route.ts";
import { stepsOf } from "../samples.ts";
import { type Activity, activity, hitRatio, quantile } from "../stats.ts";

export function Overview(): JSX.Element {
  useEffect(() => void loadIfOld().catch(() => {}), []);
  const current = stats.value;
  if (!current) return <p class="muted">Loading…</p>;
  const { all, server: host } = current;
  const upS = (current.at_unix_us - current.started_at_unix_us) / 1e6;
  const cached = host.cached_results.memory;
  return (
    <>
      <Figures>
        <Figure name="Calls" value={nowAll.value ? rate(nowAll.value.calls / nowAll.value.seconds) : "–"} note={`${count(all.calls)} since the start`} />
        <Figure name="Errors" value={count(all.errors)} note={all.calls > 0 ? `${percent(all.errors / all.calls)} of all calls` : undefined} />
        <Figure name="Cache hits" value={percent(hitRatio(all.sources))} note={`saved ${duration(all.saved_us)}`} />
        <Figure name="Cold starts" value={count(all.cold_starts)} />
        <Figure name="Memory" value={host.memory_bytes === undefined ? "–" : bytes(host.memory_bytes)} note={`of which results ${bytes(cached.bytes)}`} />
        <Figure name="Energy" value={host.energy_joules === undefined ? "–" : energy(host.energy_joules)} note={host.energy_method} />
        <Figure name="Functions" value={functions.value ? count(functions.value.length) : "–"} note={`${count(host.loaded_components)} loaded`} />
        <Figure name="Running for" value={duration(upS * 1e6)} note={server.value ? `Nebula ${server.value.version}` : undefined} />
      </Figures>
      <Charts samples={history.value} bounds={current.bucket_bounds_us} />
      <Busiest />
      <Errors codes={all.errors_by_code} />
      {server.value?.experiment && <Experiment />}
    </>
  );
}

function Charts({ samples, bounds }: { samples: ServerSample[]; bounds: number[] }): JSX.Element {
  const all = stepsOf(samples);
  const times = all.map((it) => it.time);
  const activities = all.map(({ before, sample }) => before && activity(before, sample));
  const smooth = all.map(({ first, sample }) => first && activity(first, sample));
  const perSecond = (of: (activity: Activity) => number) => activities.map((it) => (it ? of(it) / it.seconds : null));
  const spread = (phase: Phase, share: number) =>
    smooth.map((it) => quantile(it?.phases[phase], bounds, share) ?? null);
  const hits = (it: Activity) => it.sources.memory + it.sources.disk + it.sources.merged;
  /** The growth of a number of the server per second. */
  const growth = (of: (server: ServerStats) => number | undefined) =>
    all.map(({ before, sample }) => {
      const [first, after] = [before && of(before.server), of(sample.server)];
      return before && first !== undefined && after !== undefined ? (after - first) / ((sample.atUs - before.atUs) / 1e6) : null;
    });
  /** A number of the server at each time. */
  const level = (of: (server: ServerStats) => number | undefined) =>
    all.map(({ before, sample }) => (before && of(sample.server)) ?? null);
  const cpu = growth((it) => it.cpu_us).map((it) => it && it / 1e6);
  const watts = growth((it) => it.energy_joules);
  const method = samples.at(-1)?.server.energy_method ?? "modelled";
  return (
    <section aria-labelledby="charts">
      <h2 id="charts">The last ten minutes</h2>
      <div class="charts">
        <Chart
          title="Calls per second"
          times={times}
          text={rate}
          lines={[
            { name: "ran", colour: 1, values: perSecond((it) => it.sources.miss + it.sources.uncached) },
            { name: "from the cache", colour: 2, values: perSecond(hits) },
            { name: "errors", colour: 3, values: perSecond((it) => it.errors) },
          ]}
        />
        <Chart
          title="Time to run"
          times={times}
          text={duration}
          lines={[
            { name: "median", colour: 1, values: spread("run", 0.5) },
            { name: "99th percentile", colour: 4, values: spread("run", 0.99) },
          ]}
        />
        <Chart
          title="Time to start"
          times={times}
          text={duration}
          lines={[
            { name: "median", colour: 1, values: spread("start", 0.5) },
            { name: "99th percentile", colour: 4, values: spread("start", 0.99) },
          ]}
        />
        <Chart
          title="Memory"
          times={times}
          text={bytes}
          isBinary
          lines={[
            { name: "the server", colour: 1, values: level((it) => it.memory_bytes) },
            { name: "loaded code", colour: 5, values: level((it) => it.loaded_code_bytes) },
            { name: "results", colour: 2, values: level((it) => it.cached_results.memory.bytes) },
          ]}
        />
        <Chart
          title={`Power, ${method}`}
          times={times}
          text={(value) => `${energy(value).replace(/J$/, "W")}`}
          lines={[{ name: "the server", colour: 4, values: watts }]}
        />
        <Chart
          title="Processors in use"
          times={times}
          text={(value) => String(Number(value.toPrecision(2)))}
          lines={[{ name: "the server", colour: 5, values: cpu }]}
        />
      </div>
    </section>
  );
}

function Busiest(): JSX.Element | null {
  const busy = [...now.value].filter(([, it]) => it.calls > 0).sort((a, b) => b[1].calls - a[1].calls).slice(0, 8);
  if (busy.length === 0) return null;
  return (
    <section aria-labelledby="busiest">
      <h2 id="busiest">Busiest now</h2>
      <ul class="plain-list">
        {busy.map(([name, it]) => (
          <li key={name} class="row">
            <a href={functionHref(name)}>{name}</a> <span class="muted">{rate(it.calls / it.seconds)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Errors({ codes }: { codes: Record<string, number> }): JSX.Element | null {
  const all = Object.entries(codes).sort((a, b) => b[1] - a[1]);
  if (all.length === 0) return null;
  return (
    <section aria-labelledby="errors">
      <h2 id="errors">Errors by kind</h2>
      <ul class="plain-list">
        {all.map(([code, number]) => (
          <li key={code}>
            <code>{code}</code> <span class="muted">{plural(number, "call")}</span>
          </li>
        ))}
      </ul>
      <p>
        <a href="#/failures">Look at the failures</a>
      </p>
    </section>
  );
}

/** The comparison of a start in a container and in Wasm, which the server has a report of. */
function Experiment(): JSX.Element | null {
  const url = useSignal<string | undefined>(undefined);
  useEffect(() => {
    const read = async () => {
      const response = await succeed("GET", "/api/v1/experiment");
      url.value = URL.createObjectURL(await response.blob());
    };
    void read().catch(() => {});
    return () => url.value && URL.revokeObjectURL(url.value);
  }, []);
  if (!url.value) return null;
  return (
    <section aria-labelledby="experiment">
      <h2 id="experiment">The experiment: containers beside Wasm</h2>
      <img class="experiment" src={url.value} alt="The time from a request to the answer, in a container and in Wasm" />
    </section>
  );
}
