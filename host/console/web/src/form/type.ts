// The WIT types of a function, read from its signature.
//
// A signature writes every type out in full, with fields in the order of their declaration. The names
// and texts of types come from the JSON schemas, by `describe` in `docs.ts`.

/** A type, with its name and its author's text if it has them. */
export type Type = { title?: string; docs?: string } & Shape;

type Shape =
  | { kind: "bool" | "char" | "string" | "bytes" | "nothing" | "other" }
  | { kind: "integer"; name: string; min: bigint; max: bigint }
  | { kind: "float"; name: "f32" | "f64" }
  | { kind: "list"; item: Type }
  | { kind: "map"; value: Type }
  | { kind: "tuple"; items: Type[] }
  | { kind: "record"; fields: Field[] }
  | { kind: "variant"; cases: Case[]; isResult: boolean }
  | { kind: "enum"; names: string[] }
  | { kind: "flags"; names: string[] }
  | { kind: "option"; inner: Type; isNested: boolean };

/** A field of a record, or a parameter. */
export interface Field {
  name: string;
  type: Type;
  /** Set if the field may be left out. */
  isOptional: boolean;
}

/** A case of a variant or a result. */
export interface Case {
  name: string;
  /** Absent if the case is written as its name alone. */
  payload?: Type;
  docs?: string;
}

/** The types of a function. */
export interface Signature {
  params: Field[];
  /** Absent if it returns nothing. */
  result?: Type;
}

/**
 * Reads a signature such as `handle: func(a: u8) -> string`. One that isn't of this form, as those of
 * functions that answer HTTP requests aren't, is undefined.
 */
export function signatureOf(text: string): Signature | undefined {
  const parser = new Parser(text);
  try {
    for (const token of ["handle", ":", "func", "("]) parser.take(token);
    const params = parser.fields(")");
    if (parser.isAtEnd()) return { params };
    parser.take("->");
    return { params, result: parser.type() };
  } catch {
    return undefined;
  }
}

/** Reads a type such as `list<u8>`. */
export function typeOf(text: string): Type {
  return new Parser(text).type();
}

/** Returns the type of the document that holds all arguments; undefined without parameters. */
export function inputType({ params }: Signature): Type | undefined {
  if (params.length > 1) return { kind: "record", fields: params };
  return params[0]?.type;
}

/** Returns the type of a call's answer, without the function's own error. */
export function answerType({ result }: Signature): Type | undefined {
  if (result?.kind === "variant" && result.isResult) return result.cases[0]?.payload;
  return result;
}

class Parser {
  readonly #tokens: string[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(/->|[%\w-]+|[^\s]/g) ?? [];
  }

  isAtEnd(): boolean {
    return this.#at === this.#tokens.length;
  }

  take(wanted: string): void {
    if (!this.#has(wanted)) throw new Error(`expected ${wanted}, found ${this.#tokens[this.#at]}`);
  }

  #has(wanted: string): boolean {
    if (this.#tokens[this.#at] !== wanted) return false;
    this.#at += 1;
    return true;
  }

  #word(): string {
    const word = this.#tokens[this.#at];
    if (word === undefined || !/^[%\w]/.test(word)) throw new Error(`expected a name, found ${word}`);
    this.#at += 1;
    return word.replace(/^%/, "");
  }

  /** Reads items with commas between them, up to `end`. */
  #items<T>(end: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.#has(end)) {
      items.push(item());
      if (!this.#has(",")) {
        this.take(end);
        break;
      }
    }
    return items;
  }

  fields(end: string): Field[] {
    return this.#items(end, () => {
      const name = this.#word();
      this.take(":");
      const type = this.type();
      return { name, type, isOptional: type.kind === "option" };
    });
  }

  type(): Type {
    const word = this.#word();
    const integer = /^([su])(8|16|32|64)$/.exec(word);
    if (integer) return integerOf(word, integer[1] === "s", BigInt(integer[2] ?? "8"));
    switch (word) {
      case "bool":
      case "char":
      case "string":
        return { kind: word };
      case "f32":
      case "f64":
        return { kind: "float", name: word };
      case "list":
        return listOf(this.#arguments()[0]);
      case "tuple":
        return { kind: "tuple", items: this.#arguments() };
      case "option": {
        const inner = this.#arguments()[0] ?? { kind: "other" };
        return { kind: "option", inner, isNested: inner.kind === "option" };
      }
      case "result":
        return this.#result();
      case "map":
        return mapOf(this.#arguments());
      case "record":
        this.take("{");
        return { kind: "record", fields: this.fields("}") };
      case "enum":
      case "flags":
        this.take("{");
        return { kind: word, names: this.#items("}", () => this.#word()) };
      case "variant":
        this.take("{");
        return { kind: "variant", cases: this.#items("}", () => this.#case()), isResult: false };
      default:
        return { kind: "other", title: word };
    }
  }

  #arguments(): Type[] {
    this.take("<");
    return this.#items(">", () => this.type());
  }

  #case(): Case {
    const name = this.#word();
    if (!this.#has("(")) return { name };
    const payload = this.type();
    this.take(")");
    return { name, payload };
  }

  #result(): Type {
    const part = (): Type => (this.#has("_") ? { kind: "nothing" } : this.type());
    const [ok, err] = this.#has("<") ? this.#items(">", part) : [];
    const nothing: Type = { kind: "nothing" };
    const cases = [
      { name: "ok", payload: ok ?? nothing },
      { name: "err", payload: err ?? nothing },
    ];
    return { kind: "variant", cases, isResult: true };
  }
}

function integerOf(name: string, isSigned: boolean, bits: bigint): Type {
  const half = 1n << (bits - 1n);
  return isSigned
    ? { kind: "integer", name, min: -half, max: half - 1n }
    : { kind: "integer", name, min: 0n, max: 2n * half - 1n };
}

function listOf(item: Type | undefined): Type {
  if (item?.kind === "integer" && item.name === "u8") return { kind: "bytes" };
  return { kind: "list", item: item ?? { kind: "other" } };
}

/** A map with keys of another type than text is written as pairs. */
function mapOf([key, value]: Type[]): Type {
  if (!key || !value) return { kind: "other" };
  if (key.kind === "string") return { kind: "map", value };
  return { kind: "list", item: { kind: "tuple", items: [key, value] } };
}

/** Writes a type on one line. A type with a name is its name. */
export function typeText(type: Type): string {
  if (type.title) return type.title;
  switch (type.kind) {
    case "integer":
    case "float":
      return type.name;
    case "bytes":
      return "list<u8>";
    case "list":
      return `list<${typeText(type.item)}>`;
    case "map":
      return `map<string, ${typeText(type.value)}>`;
    case "tuple":
      return `tuple<${type.items.map(typeText).join(", ")}>`;
    case "variant":
      return type.isResult ? "result" : "variant";
    case "option":
      return `option<${typeText(type.inner)}>`;
    case "nothing":
      return "_";
    case "other":
      return "any";
    default:
      return type.kind;
  }
}
