// Stores for values that outlive their views, such as the input of a form.
//
// Invariants:
// * Nothing outlives the session.
// * A store holds a bounded number of values: the one that was used longest ago goes first.

import { effect } from "@preact/signals";

import { isSignedIn } from "./api/session.ts";

/** Values by key. */
export class Kept<T> {
  readonly #values = new Map<string, T>();

  constructor(readonly max: number) {
    effect(() => {
      if (!isSignedIn.value) this.#values.clear();
    });
  }

  /** Returns the value of a key, which is made if there is none. */
  of(key: string, make: () => T): T {
    const value = this.#values.get(key) ?? make();
    this.#values.delete(key);
    this.#values.set(key, value);
    const [oldest] = this.#values.keys();
    if (this.#values.size > this.max && oldest !== undefined) this.#values.delete(oldest);
    return value;
  }
}

/** Returns the key of what belongs to a function as long as its type is the same. */
export function keyOf({ name, form, signature }: { name: string; form: string; signature: string }): string {
  return `${name} ${form} ${signature}`;
}
