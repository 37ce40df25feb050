// A number with its name, and lists of them.

import type { ComponentChildren, JSX } from "preact";

interface FigureProps {
  name: string;
  value: ComponentChildren;
  note?: string | undefined;
}

export function Figure({ name, value, note }: FigureProps): JSX.Element {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        <span class="figure-value">{value}</span>
        {note && <span class="muted"> {note}</span>}
      </dd>
    </div>
  );
}

interface FiguresProps {
  /** Set for many figures in one row. */
  isDense?: boolean;
  children: ComponentChildren;
}

export function Figures({ isDense, children }: FiguresProps): JSX.Element {
  return <dl class={isDense ? "figures dense" : "figures"}>{children}</dl>;
}
