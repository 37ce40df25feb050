// The context of a form, for each field: its id, and the problem that the server found in it.

import { createContext } from "preact";
import { useContext } from "preact/hooks";

/** A problem at one place of the input. */
export interface PlacedProblem {
  pointer: string;
  message: string;
}

interface FormContextValue {
  /** The beginning of the ids of all fields. */
  prefix: string;
  problem: PlacedProblem | undefined;
}

export const FormContext = createContext<FormContextValue>({ prefix: "field", problem: undefined });

/** The ids and the message of one field. */
export interface FieldIds {
  id: string;
  docsId: string;
  mistakeId: string;
  mistake: string | undefined;
  /** The attributes that connect an input with its texts. */
  described: { "aria-describedby"?: string; "aria-invalid"?: "true" };
}

/** Returns the id of the field at a pointer. The keys of maps may have spaces, which end an id in a list of ids. */
export function idOf(prefix: string, pointer: string): string {
  return `${prefix}:${pointer.replace(/[\s%]/g, encodeURIComponent)}`;
}

/** Returns what the field at `pointer` needs; `local` is a mistake that the page itself sees. */
export function useField(pointer: string, hasDocs: boolean, local?: string): FieldIds {
  const { prefix, problem } = useContext(FormContext);
  const id = idOf(prefix, pointer);
  const [docsId, mistakeId] = [`${id}:docs`, `${id}:mistake`];
  const mistake = problem?.pointer === pointer ? problem.message : local;
  const texts = [...(hasDocs ? [docsId] : []), ...(mistake ? [mistakeId] : [])].join(" ");
  return {
    id,
    docsId,
    mistakeId,
    mistake,
    described: {
      ...(texts ? { "aria-describedby": texts } : {}),
      ...(mistake ? { "aria-invalid": "true" as const } : {}),
    },
  };
}

/** Returns the place that the form shows for a pointer: the field itself, or the closest one around it. */
export function shownPlace(prefix: string, pointer: string): string | undefined {
  let place = pointer;
  while (document.getElementById(idOf(prefix, place)) === null) {
    if (place === "") return undefined;
    place = place.slice(0, place.lastIndexOf("/"));
  }
  return place;
}
