// Calls five functions with the generated TypeScript types.
//
// usage: client.js URL

import createClient from "openapi-fetch";
import type { components, paths } from "./calls.js";

declare const process: { argv: string[] };

function check(condition: boolean, found: unknown): asserts condition {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(found)}`);
}

const client = createClient<paths>({ baseUrl: process.argv[2] });

// A record with options, and an answer with variants.
const table: components["schemas"]["csv-stats.table"] = { csv: "a;b\n1;x\n2;", delimiter: ";" };
const stats = await client.POST("/f/csv-stats", { body: table });
check(stats.data?.rows === 2, stats);
const content: components["schemas"]["csv-stats.content"] | undefined = stats.data.columns[0]?.content;
check(typeof content === "object" && "numbers" in content && content.numbers.mean === 1.5, stats);

// A variant as the function's own error.
const refused = await client.POST("/f/csv-stats", { body: { csv: "a", delimiter: "\u00e9" } });
check(refused.response.status === 422, refused);
const error = refused.error as components["schemas"]["csv-stats.error"];
check("bad-delimiter" in error && error["bad-delimiter"] === "\u00e9", refused);

// A list of records.
const tallies = [{ inside: 3, trials: 4 }, { inside: "4", trials: 4 }];
const estimate = await client.POST("/f/pi-estimate", { body: tallies });
check(estimate.data?.value === 3.5 && estimate.data.trials === 8, estimate);

// An option as a parameter of a query: present, and absent.
const two = await client.GET("/f/exponential", { params: { query: { x: 1, terms: 2 } } });
check(two.data?.value === 2, two);
const all = await client.GET("/f/exponential", { params: { query: { x: 1 } } });
check(all.data !== undefined && all.data["terms-used"] > 10, all);

// A result: the value, and the error.
const sum = await client.POST("/f/add", { body: { a: 2, b: "3" } });
check(sum.data === 5, sum);
const overflow = await client.POST("/f/add", { body: { a: "9223372036854775807", b: 1 } });
check(overflow.response.status === 422 && typeof overflow.error === "string", overflow);

// Every type, among them an enum.
const mirrored: components["schemas"]["mirrors.input"] = {
  yes: true, tiny: -1, small: -2, medium: -3, large: "-9007199254740993",
  "tiny-unsigned": 1, "small-unsigned": 2, "medium-unsigned": 3, "large-unsigned": 4,
  single: 0.5, double: "Infinity", letter: "\u00e9", text: "text", bytes: "AAE=",
  colour: "deep-green", rights: ["read"], shapes: ["point", { circle: 1.5 }],
  maybe: null, "nested-maybe": { some: "4" }, outcome: { err: "late" }, "bare-outcome": { ok: null },
  pair: ["one", [[1, 2]]],
};
const mirror = await client.POST("/f/mirrors", { body: mirrored });
check(mirror.data?.colour === "deep-green" && mirror.data.pair[1]?.[0]?.[1] === 2, mirror);

console.log("the generated TypeScript client called five functions");
