// The host's drawing of a pipeline, with live counts, and the steps of a run marked.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { succeed } from "../api/request.ts";
import { rate } from "../format.ts";
import { now } from "../live.ts";
import { Loaded, useReading } from "../parts/load.tsx";

/** The state of a step in a run. */
export type Mark = "hit" | "ran" | "failed";

interface DiagramProps {
  name: string;
  version: string;
  /** The states of the steps, by label. */
  marks: Map<string, Mark>;
  /** The label of the step that is looked at. */
  selected: string | undefined;
}

export function Diagram({ name, version, marks, selected }: DiagramProps): JSX.Element {
  const reading = useReading(async () => {
    const response = await succeed("GET", `/api/v1/pipelines/${encodeURIComponent(name)}/diagram`);
    return parse(await response.text());
  }, `${name} ${version}`);
  return <Loaded reading={reading}>{(drawing) => <Drawing drawing={drawing} marks={marks} selected={selected} />}</Loaded>;
}

/** Reads a drawing. It takes the styles of this page instead of its own, which the policy forbids. */
function parse(svg: string): SVGElement {
  const text = svg.replace(/<style[\s\S]*?<\/style\s*>/gi, "");
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  for (const element of parsed.querySelectorAll("script, foreignObject, a, image, use")) element.remove();
  return document.importNode(parsed, true) as unknown as SVGElement;
}

interface DrawingProps {
  drawing: SVGElement;
  marks: Map<string, Mark>;
  selected: string | undefined;
}

function Drawing({ drawing, marks, selected }: DrawingProps): JSX.Element {
  const holder = useRef<HTMLDivElement>(null);
  useEffect(() => holder.current?.replaceChildren(drawing), [drawing]);
  useEffect(() => {
    for (const step of drawing.querySelectorAll<SVGGElement>("[data-step]")) {
      const label = labelOf(step);
      const mark = marks.get(label);
      step.classList.remove("ran", "hit", "failed");
      if (mark) step.classList.add(mark);
      step.classList.toggle("selected", label === selected && label !== "");
    }
  }, [drawing, marks, selected]);
  const activities = now.value;
  useEffect(() => {
    for (const step of drawing.querySelectorAll<SVGGElement>("[data-function]")) {
      const activity = activities.get((step.dataset.function ?? "").replace(/@.*/, ""));
      const text = activity && activity.calls > 0 ? rate(activity.calls / activity.seconds) : "";
      badge(step, text);
    }
  }, [drawing, activities]);
  return <div ref={holder} class="diagram scrolls" tabIndex={0} role="group" aria-label="Diagram of the pipeline" />;
}

/** Returns the label of a step, which a run names it by. */
export function labelOf(step: SVGGElement): string {
  return step.dataset.label ?? step.querySelector("text")?.textContent ?? "";
}

/** Writes a text at the upper right corner of a step's box. */
function badge(step: SVGGElement, text: string): void {
  const box = step.querySelector("rect");
  let written = step.querySelector<SVGTextElement>(".badge");
  if (!written && box && text !== "") {
    written = document.createElementNS("http://www.w3.org/2000/svg", "text");
    written.setAttribute("class", "badge");
    written.setAttribute("x", String(Number(box.getAttribute("x")) + Number(box.getAttribute("width"))));
    written.setAttribute("y", String(Number(box.getAttribute("y")) - 3));
    step.append(written);
  }
  if (written && written.textContent !== text) written.textContent = text;
}
