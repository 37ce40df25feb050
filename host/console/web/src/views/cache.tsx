// Cached results by function.

import type { JSX } from "preact";

import { get } from "../api/request.ts";
import { may } from "../api/session.ts";
import type { CacheReport } from "../api/wire.ts";
import { bytes, count, duration, percent } from "../format.ts";
import { Figure, Figures } from "../parts/figure.tsx";
import { Loaded, useReading } from "../parts/load.tsx";
import { functionHref } from "../route.ts";
import { ClearCache } from "./clear-cache.tsx";

/** The most functions in the table: those with the most results. */
const SHOWN_MAX = 200;

export function Cache(): JSX.Element {
  const reading = useReading(() => get<CacheReport>("/api/v1/cache"), 0);
  return (
    <Loaded reading={reading}>
      {(report) => {
        const rows = report.functions.toSorted((a, b) => b.bytes + b.disk_bytes - a.bytes - a.disk_bytes);
        const saved = report.functions.reduce((sum, it) => sum + it.saved_us, 0);
        return (
          <>
            <Figures>
              <Figure name="In memory" value={bytes(report.bytes)} note={`of ${bytes(report.bytes_max)}`} />
              <Figure name="On disk" value={bytes(report.disk_bytes)} note={`of ${bytes(report.disk_bytes_max)}`} />
              <Figure name="Saved" value={duration(saved)} note="of running" />
            </Figures>
            <p class="row">
              <button type="button" class="small" onClick={() => void reading.again()}>
                Read again
              </button>
              {may("admin") && <ClearCache onCleared={() => void reading.again()} />}
            </p>
            {rows.length === 0 ? (
              <p class="empty">Nothing is cached: no function has been called yet.</p>
            ) : (
              <div class="scrolls" tabIndex={0} role="group" aria-label="Cached results by function">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Function</th>
                      <th scope="col" class="num">
                        In memory
                      </th>
                      <th scope="col" class="num">
                        On disk
                      </th>
                      <th scope="col" class="num">
                        Hits
                      </th>
                      <th scope="col" class="num">
                        Ran
                      </th>
                      <th scope="col" class="num">
                        Hit ratio
                      </th>
                      <th scope="col" class="num">
                        Saved
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {rows.slice(0, SHOWN_MAX).map((it) => (
                      <tr key={it.name}>
                        <th scope="row">
                          <a href={functionHref(it.name, "stats")}>{it.name}</a>
                        </th>
                        <td class="num">
                          {count(it.entries)} <span class="muted">{bytes(it.bytes)}</span>
                        </td>
                        <td class="num">
                          {count(it.disk_entries)} <span class="muted">{bytes(it.disk_bytes)}</span>
                        </td>
                        <td class="num">{count(it.hits + it.collapsed)}</td>
                        <td class="num">{count(it.misses)}</td>
                        <td class="num">{percent((it.hits + it.collapsed) / (it.hits + it.collapsed + it.misses))}</td>
                        <td class="num">{duration(it.saved_us)}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
            {rows.length > SHOWN_MAX && <p class="muted">The {SHOWN_MAX} functions with the most results are shown.</p>}
          </>
        );
      }}
    </Loaded>
  );
}
