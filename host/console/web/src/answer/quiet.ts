// HTML answers without what the policy of this page forbids.
//
// Browsers apply the policy to a page while they parse it, and report each style and handler. So these
// go from the text before it is parsed. The sandbox of the frame and the policy are what protects: this
// keeps the reports away.
//
// Invariant: the text is read once from its beginning to its end, whatever is in it.

/** The elements whose content isn't markup, and whether it is kept. */
const RAW = new Map([["style", false], ["script", false], ["textarea", true], ["title", true], ["xmp", true]]);

const SPACE = /\s/;

/** Removes styles, scripts, bases and handlers from the text of a page. A tag that doesn't end goes, too. */
export function withoutForbidden(html: string): string {
  // Other letters can become longer.
  const lower = html.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
  const parts: string[] = [];
  let at = 0;
  while (at < html.length) {
    const start = html.indexOf("<", at);
    if (start < 0) break;
    parts.push(html.slice(at, start));
    if (lower.startsWith("<!--", start)) {
      const end = html.indexOf("-->", start + 2);
      at = end < 0 ? html.length : end + 3;
      continue;
    }
    if (!/[a-z]/.test(lower.charAt(start + 1))) {
      parts.push("<");
      at = start + 1;
      continue;
    }
    const tag = tagAt(html, start);
    at = tag.end;
    if (!tag.text) break;
    const isKept = RAW.get(tag.name);
    if (isKept !== false && tag.name !== "base") parts.push(tag.text);
    if (isKept === undefined) continue;
    const close = lower.indexOf(`</${tag.name}`, at);
    const end = close < 0 ? html.length : close;
    if (isKept) parts.push(html.slice(at, end));
    // The end tag of what is dropped goes, too.
    const after = html.indexOf(">", end);
    at = isKept ? end : after < 0 ? html.length : after + 1;
  }
  parts.push(html.slice(at));
  return parts.join("");
}

interface Tag {
  name: string;
  /** The tag without forbidden attributes; empty if it doesn't end. */
  text: string;
  /** The place after it. */
  end: number;
}

/** Reads the tag that starts at a place. */
function tagAt(html: string, start: number): Tag {
  let at = start + 1;
  const skip = (isIn: (char: string) => boolean) => {
    const from = at;
    while (at < html.length && isIn(html.charAt(at))) at += 1;
    return html.slice(from, at);
  };
  const name = skip((char) => !SPACE.test(char) && char !== "/" && char !== ">").toLowerCase();
  const attributes: string[] = [];
  for (;;) {
    skip((char) => SPACE.test(char) || char === "/");
    if (at >= html.length) return { name, text: "", end: at };
    if (html.charAt(at) === ">") break;
    const from = at;
    // An attribute's name may begin with an equals sign.
    at += 1;
    skip((char) => !SPACE.test(char) && char !== "/" && char !== ">" && char !== "=");
    const attribute = html.slice(from, at).toLowerCase();
    skip((char) => SPACE.test(char));
    if (html.charAt(at) === "=") {
      at += 1;
      skip((char) => SPACE.test(char));
      const quote = html.charAt(at);
      if (quote === '"' || quote === "'") {
        const end = html.indexOf(quote, at + 1);
        if (end < 0) return { name, text: "", end: html.length };
        at = end + 1;
      } else {
        skip((char) => !SPACE.test(char) && char !== ">");
      }
    }
    if (!isForbidden(attribute)) attributes.push(` ${html.slice(from, at)}`);
  }
  return { name, text: `<${name}${attributes.join("")}>`, end: at + 1 };
}

function isForbidden(attribute: string): boolean {
  return attribute.startsWith("on") || attribute === "style" || attribute === "ping";
}

const DROPPED = "script, style, link, meta, base, iframe, object, embed, frame, frameset, portal, template";

const LOADS = ["src", "srcset", "poster", "background", "data", "action", "formaction"];

/**
 * Returns an HTML answer for a sandboxed frame: without scripts, without styles, which the policy of
 * this page forbids in frames too, and without anything that is loaded from elsewhere.
 */
export function quietHtml(html: string): string {
  const page = new DOMParser().parseFromString(withoutForbidden(html), "text/html");
  for (const element of page.querySelectorAll(DROPPED)) element.remove();
  for (const element of page.querySelectorAll("*")) {
    for (const { name, value } of [...element.attributes]) {
      const loads = LOADS.includes(name) && !/^data:image\//i.test(value);
      if (loads || isForbidden(name)) element.removeAttribute(name);
    }
  }
  return `<!doctype html><html><head><meta charset="utf-8"></head><body>${page.body.innerHTML}</body></html>`;
}
