// The names and texts of types and their parts, which the JSON schemas hold.

import { type Json, type JsonObject, isObject } from "../json.ts";
import type { Type } from "./type.ts";

/** Adds names and texts from the schema of a type. Parts that it doesn't have stay without. */
export function describe(type: Type, schema: Json | undefined): Type {
  if (!isObject(schema)) return type;
  const described = parts(type, schema);
  if (typeof schema.title === "string") described.title = schema.title;
  if (typeof schema.description === "string") described.docs = schema.description;
  return described;
}

function parts(type: Type, schema: JsonObject): Type {
  const at = (list: Json | undefined, index: number) => (Array.isArray(list) ? list[index] : undefined);
  const member = (of: Json | undefined, name: string) =>
    isObject(of) && isObject(of.properties) ? of.properties[name] : undefined;
  switch (type.kind) {
    case "list":
      return { ...type, item: describe(type.item, schema.items) };
    case "map":
      return { ...type, value: describe(type.value, schema.additionalProperties) };
    case "tuple":
      return { ...type, items: type.items.map((it, index) => describe(it, at(schema.prefixItems, index))) };
    case "record": {
      const fields = type.fields.map((it) => ({ ...it, type: describe(it.type, member(schema, it.name)) }));
      return { ...type, fields };
    }
    case "variant": {
      const cases = type.cases.map((it, index) => {
        const schemaOfCase = at(schema.oneOf, index);
        const docs = isObject(schemaOfCase) ? schemaOfCase.description : undefined;
        return {
          ...it,
          ...(it.payload ? { payload: describe(it.payload, member(schemaOfCase, it.name)) } : {}),
          ...(typeof docs === "string" ? { docs } : {}),
        };
      });
      return { ...type, cases };
    }
    case "option": {
      const some = at(schema.oneOf, 1);
      return { ...type, inner: describe(type.inner, type.isNested ? member(some, "some") : some) };
    }
    default:
      return { ...type };
  }
}
