// A sentence in which names are between backticks, as the server writes them.

import type { JSX } from "preact";

export function Prose({ text }: { text: string }): JSX.Element {
  const parts = text.split(/`([^`]*)`/);
  return <>{parts.map((part, at) => (at % 2 === 1 ? <code key={at}>{part}</code> : part))}</>;
}
