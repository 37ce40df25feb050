// An answer as what it is, and what is known about the call.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useMemo } from "preact/hooks";

import { bytes, duration } from "../format.ts";
import { Copy } from "../parts/copy.tsx";
import { Figure, Figures } from "../parts/figure.tsx";
import { Markdown } from "../parts/markdown.tsx";
import { type Answer, type TimingEntry, cacheSentence } from "./call.ts";
import { quietHtml } from "./quiet.ts";
import { Tree } from "./tree.tsx";
import { type Content, type View, contentOf, ending } from "./views.ts";

const NAMES: Record<View, string> = {
  json: "JSON",
  image: "Image",
  svg: "Drawing",
  html: "Page",
  markdown: "Markdown",
  text: "Text",
  bytes: "Bytes",
};

/** The longest text that is shown, characters. */
const TEXT_MAX = 500_000;

/** The longest text that is shown as Markdown, whose parser is slow with some texts. */
const MARKDOWN_MAX = 100_000;

const LENGTHS_MAX: Partial<Record<View, number>> = { html: TEXT_MAX, text: TEXT_MAX, markdown: MARKDOWN_MAX };

export function AnswerContent({ answer, name }: { answer: Answer; name: string }): JSX.Element {
  const content = useMemo(() => contentOf(answer.bytes, answer.mediaType), [answer]);
  const chosen = useSignal<View | undefined>(undefined);
  const view = chosen.value && content.views.includes(chosen.value) ? chosen.value : (content.views[0] ?? "bytes");
  const url = useObjectUrl(answer.bytes, answer.mediaType || "application/octet-stream");
  const isCut = (content.text?.length ?? 0) > (LENGTHS_MAX[view] ?? Infinity);
  return (
    <section aria-label="Answer">
      <div class="row spread">
        <div class="segments" role="group" aria-label="Show the answer as">
          {content.views.map((it) => (
            <button key={it} type="button" aria-pressed={it === view} onClick={() => (chosen.value = it)}>
              {NAMES[it]}
            </button>
          ))}
        </div>
        <div class="row">
          {content.text !== undefined && content.text.length <= TEXT_MAX && <Copy text={content.text} what="the answer" />}
          <a class="button small" href={url} download={`${name}.${ending(content)}`}>
            Download
          </a>
        </div>
      </div>
      <Shown view={view} content={content} answer={answer} />
      {isCut && <p class="muted">Only the beginning is shown. The download has all of it.</p>}
    </section>
  );
}

function Shown({ view, content, answer }: { view: View; content: Content; answer: Answer }): JSX.Element {
  const text = content.text ?? "";
  switch (view) {
    case "json":
      return <Tree value={content.json ?? null} />;
    case "image":
      return <Picture content={answer.bytes} type={content.imageType ?? ""} />;
    case "svg":
      // A drawing that is an image runs no script and loads nothing.
      return <Picture content={text} type="image/svg+xml" />;
    case "html":
      return <Page html={text.slice(0, TEXT_MAX)} />;
    case "markdown":
      return (
        <div class="answer-text">
          <Markdown text={text.slice(0, MARKDOWN_MAX)} under={2} />
        </div>
      );
    case "text":
      return (
        <pre class="answer-text" tabIndex={0} aria-label="Answer as text">
          {text === "" ? "(an empty text)" : text.slice(0, TEXT_MAX)}
        </pre>
      );
    case "bytes":
      return <Bytes bytes={answer.bytes} />;
  }
}

/** Returns an address of some content, as long as the component is shown. */
function useObjectUrl(content: Uint8Array<ArrayBuffer> | string, type: string): string {
  const url = useMemo(() => URL.createObjectURL(new Blob([content], { type })), [content, type]);
  useEffect(() => () => URL.revokeObjectURL(url), [url]);
  return url;
}

function Picture({ content, type }: { content: Uint8Array<ArrayBuffer> | string; type: string }): JSX.Element {
  const url = useObjectUrl(content, type);
  const size = useSignal("");
  return (
    <figure class="picture">
      <img
        src={url}
        alt="The answer of the function"
        onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) => (size.value = `${naturalWidth} × ${naturalHeight}`)}
        onError={() => (size.value = "The browser can't show this image.")}
      />
      <figcaption class="muted">{size.value}</figcaption>
    </figure>
  );
}

function Page({ html }: { html: string }): JSX.Element {
  const quiet = useMemo(() => quietHtml(html), [html]);
  return (
    <>
      {/* Nothing is allowed in it: no script, no form, and no other page. */}
      <iframe class="page-frame" sandbox="" title="The answer as a page" srcdoc={quiet} />
      <p class="muted">Shown without its styles and scripts, and without what it loads from elsewhere.</p>
    </>
  );
}

function Bytes({ bytes: content }: { bytes: Uint8Array }): JSX.Element {
  const rows = [];
  for (let at = 0; at < Math.min(content.length, 512); at += 16) {
    const row = [...content.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    rows.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return (
    <>
      <pre class="answer-text" tabIndex={0} aria-label="The first bytes of the answer">
        {rows.join("\n")}
      </pre>
      <p class="muted">
        {bytes(content.length)}
        {content.length > 512 && ", of which the first 512 B are shown"}
      </p>
    </>
  );
}

/** The figures that matter most about a call. */
export function AnswerSummary({ answer }: { answer: Answer }): JSX.Element {
  const { tookMs, function: called, mediaType } = answer;
  const version = /^[^;@]+@([^;]+)/.exec(called ?? "")?.[1];
  return (
    <Figures>
      <Figure name="Status" value={<StatusTag answer={answer} />} />
      {version && <Figure name="Version" value={version} />}
      <Figure name="Length" value={bytes(answer.bytes.length)} note={mediaType.split(";")[0]} />
      <Figure name="Time" value={duration(tookMs * 1000)} note="as this browser sees it" />
    </Figures>
  );
}

/** The facts about a call beside its content. */
export function AnswerFacts({ answer, name }: { answer: Answer; name: string }): JSX.Element {
  const { cache, requestId } = answer;
  return (
    <>
      {cache && <p class="cache-state">{cacheSentence(cache)}.</p>}
      <Timing entries={answer.timing} />
      {answer.receipt && <Receipt receipt={answer.receipt} name={name} isInputKept={answer.isInputKept} />}
      {requestId && (
        <p class="muted">
          Request <code>{requestId}</code>
        </p>
      )}
    </>
  );
}

function StatusTag({ answer: { status, problem } }: { answer: Answer }): JSX.Element {
  const [kind, text] = problem
    ? ["bad", "failed"]
    : status < 300
      ? ["good", "OK"]
      : status < 400
        ? ["warn", "the function redirects"]
        : ["warn", "the function's own error"];
  return (
    <span class={`tag ${kind}`}>
      {status} {text}
    </span>
  );
}

const PHASES: Record<string, string> = { queue: "waiting", start: "starting", run: "running" };

/** The phases of a call as a bar, and the steps of a pipeline as a table. */
function Timing({ entries }: { entries: TimingEntry[] }): JSX.Element | null {
  const caption = useId();
  const phases = entries.filter((entry) => entry.name in PHASES && entry.text === undefined);
  const steps = entries.filter((entry) => !phases.includes(entry));
  const total = phases.reduce((sum, entry) => sum + entry.ms, 0);
  if (entries.length === 0) return null;
  return (
    <figure class="timing">
      <figcaption id={caption}>Time in the server: {duration(total * 1000)}</figcaption>
      {total > 0 && (
        <div class="bar" aria-hidden="true">
          {phases.map((entry) => (
            <span key={entry.name} class={`phase-${entry.name}`} style={{ flexGrow: entry.ms / total }} />
          ))}
        </div>
      )}
      <ul class="legend" aria-labelledby={caption}>
        {phases.map((entry) => (
          <li key={entry.name}>
            <span class={`swatch phase-${entry.name}`} aria-hidden="true" /> {PHASES[entry.name]}{" "}
            <b>{duration(entry.ms * 1000)}</b>
          </li>
        ))}
      </ul>
      {steps.length > 0 && (
        <div class="scrolls" tabIndex={0} role="group" aria-label="Steps of the call">
          <table>
            <thead>
              <tr>
                <th>Step</th>
                <th class="num">Time</th>
                <th>Cache</th>
              </tr>
            </thead>
            <tbody>
              {steps.map((entry, at) => (
                <tr key={at}>
                  <td>{entry.name}</td>
                  <td class="num">{duration(entry.ms * 1000)}</td>
                  <td>{entry.text}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </figure>
  );
}

function Receipt({ receipt, name, isInputKept }: { receipt: string; name: string; isInputKept: boolean }): JSX.Element {
  const file = `${name}.receipt`;
  const url = useObjectUrl(receipt, "text/plain");
  const command = `nebula replay ${file}${isInputKept ? "" : " --input @FILE"}`;
  return (
    <section class="receipt" aria-label="Receipt">
      <h3>Receipt</h3>
      <p>It names the component, the input and the answer, so that anyone can compute the answer again.</p>
      <pre class="code" tabIndex={0} aria-label="The receipt">
        {receipt}
      </pre>
      <p class="row">
        <Copy text={receipt} what="the receipt" />
        <a class="button small" href={url} download={file}>
          Download
        </a>
      </p>
      <p>
        Check it with <code>{command}</code> <Copy text={command} what="the command" />
      </p>
    </section>
  );
}
