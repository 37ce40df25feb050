// A chart over time. Beside the drawing there is a sentence with the newest values, for readers who
// can't see it.

import type { JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import uPlot from "uplot";

import { clock } from "../format.ts";
import { colours } from "../theme.ts";

export interface Line {
  name: string;
  /** The class that has the line's colour: `line-1` to `line-6`. */
  colour: number;
  values: (number | null)[];
}

interface ChartProps {
  title: string;
  /** Seconds since the Unix epoch. */
  times: number[];
  lines: Line[];
  text: (value: number) => string;
  /** Set for sizes, whose round numbers are powers of two. */
  isBinary?: boolean;
}

/** The steps of an axis of sizes, bytes. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

const HEIGHT = 168;

export function Chart({ title, times, lines, text, isBinary = false }: ChartProps): JSX.Element {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const caption = useId();
  const data = [times, ...lines.map((line) => line.values)] as uPlot.AlignedData;
  const names = lines.map((line) => line.name).join();
  // A line has two ends.
  const isDrawn = times.length > 1;

  useEffect(() => {
    const element = holder.current;
    if (!element) return undefined;
    const made = new uPlot(options(element, lines, text, isBinary), data, element);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [names, isDrawn, colours.value]);

  useEffect(() => plot.current?.setData(data), [data]);

  const newest = lines.map((line) => {
    const value = line.values.findLast((it) => it !== null);
    return { ...line, text: value === undefined || value === null ? "–" : text(value) };
  });
  return (
    <figure class="chart">
      <figcaption id={caption}>{title}</figcaption>
      <ul class="legend">
        {newest.map((line) => (
          <li key={line.name}>
            <span class={`swatch line-${line.colour}`} aria-hidden="true" /> {line.name} <b>{line.text}</b>
          </li>
        ))}
      </ul>
      {isDrawn ? (
        <div ref={holder} class="plot" role="img" aria-labelledby={caption} />
      ) : (
        <p class="plot muted">The line begins with the next values.</p>
      )}
    </figure>
  );
}

function options(element: HTMLElement, lines: Line[], text: (value: number) => string, isBinary: boolean): uPlot.Options {
  const axis = colourOf(element, "axis");
  const grid = colourOf(element, "grid");
  const font = `11px ${getComputedStyle(element).fontFamily}`;
  const common = { stroke: axis, font, ticks: { show: false }, grid: { stroke: grid, width: 1 } };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 28, 0, 0],
    scales: { x: { time: true }, y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [
      { ...common, grid: { show: false }, space: 90, size: 28, values: (_plot, ticks) => ticks.map((it) => clock(it * 1e6)) },
      { ...common, size: 64, space: 36, ...(isBinary ? { incrs: BINARY } : {}), values: (_plot, ticks) => ticks.map(text) },
    ],
    series: [
      {},
      ...lines.map((line) => {
        const stroke = colourOf(element, `line-${line.colour}`);
        return { label: line.name, stroke, width: 2, points: { show: false } };
      }),
    ],
  };
}

/** Returns the colour that the style sheet gives to a class: a canvas can't read the sheet. */
function colourOf(parent: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.className = name;
  parent.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
