// The ways to show an answer, by its media type and its first bytes.

import { type Json, read } from "../json.ts";

/** A way to show an answer. */
export type View = "json" | "image" | "svg" | "html" | "markdown" | "text" | "bytes";

/** The content of an answer. The first view is the one for its kind. */
export interface Content {
  views: View[];
  /** Absent if the answer isn't text. */
  text?: string;
  json?: Json;
  /** The media type of an image. */
  imageType?: string;
}

const MAGIC: [string, number[]][] = [
  ["image/png", [0x89, 0x50, 0x4e, 0x47]],
  ["image/jpeg", [0xff, 0xd8, 0xff]],
  ["image/gif", [0x47, 0x49, 0x46, 0x38]],
];

/** RIFF holds sounds and films, too: the kind is behind the length. */
const WEBP = /^RIFF[^]{4}WEBP/;

/** Looks at an answer. */
export function contentOf(bytes: Uint8Array, mediaType: string): Content {
  const type = mediaType.split(";")[0]?.trim().toLowerCase() ?? "";
  const isWebp = WEBP.test(String.fromCharCode(...bytes.subarray(0, 12)));
  const magic = isWebp ? "image/webp" : MAGIC.find(([, start]) => start.every((byte, at) => bytes[at] === byte))?.[0];
  if (magic) return { views: ["image", "bytes"], imageType: magic };
  const text = textOf(bytes);
  if (text === undefined) {
    const isImage = /^image\/(png|jpeg|gif|webp|avif|bmp|x-icon)$/.test(type);
    return isImage ? { views: ["image", "bytes"], imageType: type } : { views: ["bytes"] };
  }
  if (type === "application/json" || type.endsWith("+json")) {
    const found = read(text);
    if (found.mistake) return { views: ["text"], text };
    const { value } = found;
    // A string is shown as what it holds, too.
    if (typeof value === "string") return { views: [...textViews(value, ""), "json"], text: value, json: value };
    return { views: ["json", "text"], text, json: value };
  }
  return { views: textViews(text, type), text };
}

function textViews(text: string, type: string): View[] {
  const start = text.slice(0, 1000).trimStart().toLowerCase();
  const views: View[] = ["text", "markdown"];
  if (type === "text/markdown") return ["markdown", "text"];
  if (type === "image/svg+xml" || /^(<\?xml[^>]*>\s*)?(<!doctype svg[^>]*>\s*)?<svg[\s>]/.test(start)) return ["svg", "text"];
  const isPage = /^(<!doctype html|<html[\s>])/.test(start);
  const isPart = /^<(article|section|div|main|h[1-6]|p|table|ul|ol|pre|blockquote)[\s>]/.test(start);
  if (type === "text/html" || isPage || isPart) return ["html", "text"];
  return views;
}

function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.subarray(0, 4096).includes(0)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Returns a file name's ending for an answer. */
export function ending(content: Content): string {
  const [view] = content.views;
  if (view === "image") return content.imageType?.replace("image/", "").replace("jpeg", "jpg") ?? "bin";
  return { json: "json", svg: "svg", html: "html", markdown: "md", text: "txt", bytes: "bin" }[view ?? "bytes"];
}
