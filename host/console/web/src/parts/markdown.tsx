// Markdown as elements of the page.
//
// The parser's tokens become elements one by one, and HTML in the text stays text. So no text of a
// function can add a script, a form or an image of another host.

import { type Token, type Tokens, lexer } from "marked";
import type { ComponentChildren, JSX } from "preact";

interface MarkdownProps {
  text: string;
  /** The level of the page's heading above the text. */
  under: number;
}

/** Shows a text in Markdown. */
export function Markdown({ text, under }: MarkdownProps): JSX.Element {
  let level = under;
  const blocks = lexer(text).map((token) => {
    if (token.type !== "heading") return block(token);
    // No level is left out, so that a screen reader can go from heading to heading.
    level = Math.min(under + (token as Tokens.Heading).depth, level + 1, 6);
    const Heading = `h${level}` as "h3";
    return <Heading>{inlines(token)}</Heading>;
  });
  return <div class="markdown">{blocks}</div>;
}

function block(token: Token): ComponentChildren {
  switch (token.type) {
    case "heading":
      return (
        <p>
          <strong>{inlines(token)}</strong>
        </p>
      );
    case "paragraph":
      return <p>{inlines(token)}</p>;
    case "text":
      return "tokens" in token && token.tokens ? inlines(token) : plain((token as Tokens.Text).text);
    case "code":
      return <pre tabIndex={0}>{(token as Tokens.Code).text}</pre>;
    case "blockquote":
      return <blockquote>{(token as Tokens.Blockquote).tokens.map(block)}</blockquote>;
    case "list": {
      const list = token as Tokens.List;
      const items = list.items.map((item) => (
        <li>
          {item.task && (item.checked ? "☑ " : "☐ ")}
          {item.tokens.map(block)}
        </li>
      ));
      return list.ordered ? <ol start={Number(list.start) || 1}>{items}</ol> : <ul>{items}</ul>;
    }
    case "table":
      return table(token as Tokens.Table);
    case "hr":
      return <hr />;
    case "space":
    case "def":
      return null;
    default:
      return <p>{plain(token.raw)}</p>;
  }
}

function table(token: Tokens.Table): JSX.Element {
  const cells = (row: Tokens.TableCell[], Cell: "td" | "th") => row.map((cell) => <Cell>{cell.tokens.map(inline)}</Cell>);
  return (
    <div class="scrolls" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>{cells(token.header, "th")}</tr>
        </thead>
        <tbody>
          {token.rows.map((row) => (
            <tr>{cells(row, "td")}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inlines(token: Token): ComponentChildren {
  return "tokens" in token ? token.tokens?.map(inline) : plain(token.raw);
}

function inline(token: Token): ComponentChildren {
  switch (token.type) {
    case "strong":
      return <strong>{inlines(token)}</strong>;
    case "em":
      return <em>{inlines(token)}</em>;
    case "del":
      return <del>{inlines(token)}</del>;
    case "codespan":
      return <code>{(token as Tokens.Codespan).text}</code>;
    case "br":
      return <br />;
    case "link": {
      const { href } = token as Tokens.Link;
      if (!/^https?:\/\//i.test(href)) return inlines(token);
      return (
        <a href={href} target="_blank" rel="noopener noreferrer">
          {inlines(token)}
        </a>
      );
    }
    case "image":
      return <em>[image: {(token as Tokens.Image).text}]</em>;
    case "text":
      return "tokens" in token && token.tokens ? inlines(token) : plain((token as Tokens.Text).text);
    case "escape":
      return (token as Tokens.Escape).text;
    default:
      return plain(token.raw);
  }
}

/** Resolves the character references that the parser leaves. */
function plain(text: string): string {
  const references: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" };
  return text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (all, name: string) => references[name] ?? all);
}
