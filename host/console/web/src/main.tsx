// The page: its frame, its navigation, and the view of the address.

import { effect, useSignal } from "@preact/signals";
import { type ComponentChildren, type JSX, render } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { sentence } from "./api/problem.ts";
import { ask, may, session, signOut } from "./api/session.ts";
import { Boundary } from "./parts/boundary.tsx";
import { Notices, notify } from "./parts/notice.tsx";
import { retry, trouble } from "./poll.ts";
import { type Route, route } from "./route.ts";
import { type Theme, theme } from "./theme.ts";
import { Cache } from "./views/cache.tsx";
import { DropTarget } from "./views/deploy.tsx";
import { FunctionView } from "./views/function.tsx";
import { Functions } from "./views/functions.tsx";
import { Log } from "./views/log.tsx";
import { Overview } from "./views/overview.tsx";
import { SignIn } from "./views/sign-in.tsx";
import { Tokens } from "./views/tokens.tsx";

function App(): JSX.Element {
  const { value: who } = session;
  if (who === undefined) return <Starting />;
  if (who === null) wasSignedOut = true;
  return (
    <>
      <DropTarget>{who === null ? <SignIn /> : <Frame />}</DropTarget>
      <Notices isInDialog={false} />
    </>
  );
}

/** The page until the server has said who is signed in. */
function Starting(): JSX.Element {
  const error = useSignal<unknown>(undefined);
  const start = () => {
    error.value = undefined;
    ask().catch((reason: unknown) => (error.value = reason));
  };
  useEffect(start, []);
  return (
    <main class="sign-in">
      <h1 class="visually-hidden">Nebula</h1>
      {error.value === undefined ? (
        <p class="muted">Loading…</p>
      ) : (
        <div class="card" role="alert">
          <p>{sentence(error.value)}</p>
          <button type="button" class="primary" onClick={start}>
            Try again
          </button>
        </div>
      )}
    </main>
  );
}

function titleOf(shown: Route): string {
  switch (shown.view) {
    case "function":
      return shown.name;
    case "unknown":
      return "Not found";
    case "sign-in":
      return "Overview";
    default:
      return shown.view.charAt(0).toUpperCase() + shown.view.slice(1);
  }
}

/** Set while the view to sign in was the last that was shown. */
let wasSignedOut = false;

function Frame(): JSX.Element {
  const { value: shown } = route;
  const title = titleOf(shown);
  const heading = useRef<HTMLHeadingElement>(null);
  // A sign-in counts as a change, too: the form that had the focus is gone.
  const isFirst = useRef(!wasSignedOut);
  const place = shown.view === "function" ? `function ${shown.name}` : shown.view;

  // A screen reader goes on at the heading of another view.
  useEffect(() => {
    document.title = `${title} – Nebula`;
    if (!isFirst.current) {
      heading.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    [isFirst.current, wasSignedOut] = [false, false];
  }, [place]);

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          heading.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <div class="frame">
        <Side shown={shown} />
        <main id="main" class="content">
          <Trouble />
          {shown.view === "function" && (
            <p class="crumbs">
              <a href="#/functions">Functions</a> /
            </p>
          )}
          <h1 tabIndex={-1} ref={heading}>
            {title}
          </h1>
          <Boundary place={JSON.stringify(shown)}>
            <View shown={shown} />
          </Boundary>
        </main>
      </div>
    </>
  );
}

function View({ shown }: { shown: Route }): JSX.Element {
  switch (shown.view) {
    case "overview":
    case "sign-in":
      return <Overview />;
    case "functions":
      return <Functions key="functions" />;
    case "pipelines":
      return <Functions key="pipelines" only="pipelines" />;
    case "function":
      return <FunctionView key={shown.name} name={shown.name} tab={shown.tab} />;
    case "logs":
      return <Log key="logs" onlyFailures={false} />;
    case "failures":
      return <Log key="failures" onlyFailures />;
    case "cache":
      return <Cache />;
    case "tokens":
      return may("admin") ? <Tokens /> : <p class="empty">Your token's scope doesn't include this.</p>;
    case "unknown":
      return (
        <p class="empty">
          There is nothing at this address. <a href="#/">Go to the overview</a>
        </p>
      );
  }
}

const VIEWS: { view: Route["view"]; href: string; name: string }[] = [
  { view: "overview", href: "#/", name: "Overview" },
  { view: "functions", href: "#/functions", name: "Functions" },
  { view: "pipelines", href: "#/pipelines", name: "Pipelines" },
  { view: "logs", href: "#/logs", name: "Logs" },
  { view: "failures", href: "#/failures", name: "Failures" },
  { view: "cache", href: "#/cache", name: "Cache" },
  { view: "tokens", href: "#/tokens", name: "Tokens" },
];

function Side({ shown }: { shown: Route }): JSX.Element {
  const isOpen = useSignal(false);
  const current = shown.view === "function" ? "functions" : shown.view === "sign-in" ? "overview" : shown.view;
  useEffect(() => {
    isOpen.value = false;
  }, [shown]);
  return (
    <header class="side">
      <div class="brand">
        <a href="#/" class="name">
          <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
            <circle cx="16" cy="16" r="5" fill="currentColor" />
            <ellipse cx="16" cy="16" rx="14" ry="6" transform="rotate(-30 16 16)" fill="none" stroke="currentColor" stroke-width="2.5" />
          </svg>
          Nebula
        </a>
        <button
          type="button"
          class="menu"
          aria-expanded={isOpen.value}
          aria-controls="menu"
          onClick={() => (isOpen.value = !isOpen.value)}
        >
          Menu
        </button>
      </div>
      <div id="menu" class={isOpen.value ? "menu-body open" : "menu-body"}>
        <nav aria-label="Views">
          <ul>
            {VIEWS.filter((it) => it.view !== "tokens" || may("admin")).map((it) => (
              <li key={it.view}>
                <a href={it.href} aria-current={it.view === current ? "page" : undefined}>
                  {it.name}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <Account />
      </div>
    </header>
  );
}

function Account(): JSX.Element {
  // A reload leaves nothing of this user in the page.
  const leave = () => signOut().then(() => location.reload(), (error: unknown) => notify(sentence(error)));
  return (
    <div class="account">
      <p>
        <b>{session.value?.name}</b> <span class="tag">{session.value?.scope}</span>
      </p>
      <label>
        Colours{" "}
        <select value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)}>
          <option value="system">as the system</option>
          <option value="light">light</option>
          <option value="dark">dark</option>
        </select>
      </label>
      <button type="button" onClick={() => void leave()}>
        Sign out
      </button>
      <p class="muted small-text">
        <a href={document.querySelector<HTMLLinkElement>("link[rel=license]")?.href ?? ""}>Licences</a>
      </p>
    </div>
  );
}

/** A server that doesn't answer, told calmly: what is shown stays. */
function Trouble(): ComponentChildren {
  const { value: found } = trouble;
  return (
    <div role="status">
      {found && (
        <p class="box warn row">
          <span>{found} What you see may be old. The console tries again by itself.</span>
          <button type="button" class="small" onClick={retry}>
            Try now
          </button>
        </p>
      )}
    </div>
  );
}

// A one-time link signs in by itself, in an open page too: the view to sign in sends its code.
effect(() => {
  if (route.value.view === "sign-in" && route.value.code !== undefined) session.value = null;
});

const root = document.getElementById("app");
if (root) render(<App />, root);
