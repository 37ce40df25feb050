// All functions: found by text, sorted by any column, with what they do now.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { may } from "../api/session.ts";
import type { Counts, FunctionVersion } from "../api/wire.ts";
import { bytes, count, duration, energy, percent, rate } from "../format.ts";
import { functions, load, shortSignature } from "../functions.ts";
import { now, stats } from "../live.ts";
import { Loaded, useFollowing } from "../parts/load.tsx";
import { Pages } from "../parts/pages.tsx";
import { functionHref } from "../route.ts";
import { type Activity, hitRatio, quantile } from "../stats.ts";
import { chooseFiles } from "./deploy-files.ts";

const PAGE = 50;

/** The time between two readings of the list, which holds every function's schemas. */
const PAUSE_MS = 30_000;

interface Row {
  version: FunctionVersion;
  counts: Counts | undefined;
  activity: Activity | undefined;
  p50: number | undefined;
  p99: number | undefined;
}

interface Column {
  name: string;
  title?: string;
  isNumber: boolean;
  /** The value that rows are sorted by; rows without one come last. */
  key: (row: Row) => number | string | undefined;
  text: (row: Row) => string;
}

const COLUMNS: Column[] = [
  { name: "Calls", isNumber: true, key: (row) => row.counts?.calls, text: (row) => number(row.counts?.calls, count) },
  {
    name: "Now",
    title: "Calls per second in the last 10 seconds",
    isNumber: true,
    key: (row) => row.activity && row.activity.calls / row.activity.seconds,
    text: (row) => number(row.activity && row.activity.calls / row.activity.seconds, rate),
  },
  {
    name: "Median",
    title: "Time to run that half of the calls did not exceed",
    isNumber: true,
    key: (row) => row.p50,
    text: (row) => number(row.p50, duration),
  },
  {
    name: "p99",
    title: "99th percentile: the time to run that 99 % of the calls did not exceed",
    isNumber: true,
    key: (row) => row.p99,
    text: (row) => number(row.p99, duration),
  },
  {
    name: "Errors",
    isNumber: true,
    key: (row) => row.counts?.errors,
    text: (row) => number(row.counts?.errors, count),
  },
  {
    name: "Cold starts",
    title: "Calls that waited for the function's code to be loaded",
    isNumber: true,
    key: (row) => row.counts?.cold_starts,
    text: (row) => number(row.counts?.cold_starts, count),
  },
  {
    name: "Hits",
    title: "Share of the calls that a cached result answered",
    isNumber: true,
    key: (row) => row.counts && hitRatio(row.counts.sources),
    text: (row) => number(row.counts && hitRatio(row.counts.sources), percent),
  },
  {
    name: "Energy",
    title: "Energy of the calls, modelled from their processor time",
    isNumber: true,
    key: (row) => row.counts?.energy_joules,
    text: (row) => number(row.counts?.energy_joules, energy),
  },
  { name: "Size", isNumber: true, key: (row) => row.version.size_bytes, text: (row) => bytes(row.version.size_bytes) },
];

const BY_NAME: Column = { name: "Name", isNumber: false, key: (row) => row.version.name, text: (row) => row.version.name };

function number(value: number | undefined, text: (value: number) => string): string {
  return value === undefined ? "–" : text(value);
}

export function Functions({ only }: { only?: "pipelines" }): JSX.Element {
  const reading = useFollowing(load, PAUSE_MS, only);
  const search = useSignal("");
  const sort = useSignal({ column: "Name", isDescending: false });
  const from = useSignal(0);

  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = (functions.value ?? []).filter((it) => only === undefined || it.pipeline !== undefined);
  const found = wanted.filter((it) => words.every((word) => textOf(it).includes(word)));
  const rows = sorted(found.map(rowOf), sort.value.column, sort.value.isDescending);
  const start = from.value < rows.length ? from.value : 0;

  const by = (column: Column) => {
    const isSame = sort.value.column === column.name;
    sort.value = { column: column.name, isDescending: isSame ? !sort.value.isDescending : column.isNumber };
    from.value = 0;
  };
  const noun = only === undefined ? "function" : "pipeline";
  return (
    <>
      <div class="row spread">
        <label class="search">
          <span class="visually-hidden">Search {noun}s</span>
          <input
            type="search"
            placeholder={`Search ${noun}s by name, type or text`}
            value={search.value}
            onInput={(event) => {
              search.value = event.currentTarget.value;
              from.value = 0;
            }}
          />
        </label>
        {may("admin") && only === undefined && (
          <button type="button" class="primary" onClick={() => chooseFiles()}>
            Deploy…
          </button>
        )}
      </div>
      <Loaded reading={{ ...reading, value: functions.value }}>
        {() => (
          <>
            <p class="muted" role="status">
              {words.length > 0 ? `${count(rows.length)} of ${count(wanted.length)} ${noun}s` : `${count(rows.length)} ${noun}s`}
            </p>
            {rows.length > 0 ? (
              <div class="scrolls" tabIndex={0} role="group" aria-label={`Table of ${noun}s`}>
                <table class="functions">
                  <thead>
                    <tr>
                      {[BY_NAME, ...COLUMNS].map((column) => (
                        <Head key={column.name} column={column} sort={sort.value} onSort={() => by(column)} />
                      ))}
                    </tr>
                  </thead>
                  <tbody>
                    {rows.slice(start, start + PAGE).map((row) => (
                      <tr key={row.version.name}>
                        <th scope="row">
                          <a href={functionHref(row.version.name, only ? "steps" : "call")}>{row.version.name}</a>{" "}
                          <span class="muted">{row.version.version}</span>
                          {row.version.pipeline && only === undefined && <span class="tag">pipeline</span>}
                          <div class="signature">{shortSignature(row.version)}</div>
                        </th>
                        {COLUMNS.map((column) => (
                          <td key={column.name} class="num">
                            {column.text(row)}
                          </td>
                        ))}
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            ) : (
              <Nothing isSearch={words.length > 0} noun={noun} />
            )}
            <Pages what={`${noun}s`} from={start} size={PAGE} total={rows.length} onMove={(next) => (from.value = next)} />
          </>
        )}
      </Loaded>
    </>
  );
}

function Head({ column, sort, onSort }: { column: Column; sort: { column: string; isDescending: boolean }; onSort: () => void }) {
  const isSorted = sort.column === column.name;
  const direction = sort.isDescending ? "descending" : "ascending";
  return (
    <th scope="col" class={column.isNumber ? "num" : ""} aria-sort={isSorted ? direction : undefined}>
      <button type="button" class="head" onClick={onSort} title={column.title}>
        {column.name}
        <span aria-hidden="true">{isSorted ? (sort.isDescending ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

function Nothing({ isSearch, noun }: { isSearch: boolean; noun: string }): JSX.Element {
  if (isSearch) return <p class="empty">No {noun} has these words in its name, type or text.</p>;
  if (noun === "pipeline") {
    return (
      <p class="empty">
        There are no pipelines yet. <code>nebula pipeline deploy NAME FILE</code> deploys one.
      </p>
    );
  }
  return (
    <p class="empty">
      There are no functions yet. {may("admin") ? "Drop a .wasm file on this page, or run " : "Deploy one with "}
      <code>nebula deploy FILE</code>.
    </p>
  );
}

const texts = new WeakMap<FunctionVersion, string>();

/** Returns the text of a function that a search looks at. */
function textOf(version: FunctionVersion): string {
  const known = texts.get(version);
  if (known !== undefined) return known;
  const text = `${version.name} ${version.signature} ${version.docs ?? ""} ${version.form}`.toLowerCase();
  texts.set(version, text);
  return text;
}

function rowOf(version: FunctionVersion): Row {
  const current = stats.value;
  const counts = current?.functions[version.name];
  const bounds = current?.bucket_bounds_us ?? [];
  return {
    version,
    counts,
    activity: now.value.get(version.name),
    p50: quantile(counts?.phases.run, bounds, 0.5),
    p99: quantile(counts?.phases.run, bounds, 0.99),
  };
}

function sorted(rows: Row[], name: string, isDescending: boolean): Row[] {
  const column = COLUMNS.find((it) => it.name === name);
  if (!column) return isDescending ? rows.toReversed() : rows;
  const has = (key: number | string | undefined): key is number => typeof key === "number" && !Number.isNaN(key);
  return rows.toSorted((a, b) => {
    const [first, second] = [column.key(a), column.key(b)];
    if (!has(first) || !has(second)) return Number(has(second)) - Number(has(first));
    return isDescending ? second - first : first - second;
  });
}
