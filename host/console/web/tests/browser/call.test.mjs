// Calls through generated forms, and their answers.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Console, launch } from "./browser.mjs";
import { Nebula, functionFile, guestFile, sampleFile } from "./nebula.mjs";

let [nebula, browser] = [];

before(async () => {
  nebula = await Nebula.start();
  await nebula.deploy("add", functionFile("add"));
  await nebula.deploy("csv-stats", functionFile("csv-stats"));
  await nebula.deploy("markdown", functionFile("markdown"));
  await nebula.deploy("qr-code", functionFile("qr-code"));
  await nebula.deploy("mirrors", guestFile("mirrors"));
  await nebula.deploy("mirrors-payload", guestFile("mirrors_payload"));
  await nebula.deploy("answers-as-told", guestFile("answers_as_told"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await nebula?.stop();
});

async function open(view, options) {
  const it = await (await Console.open(browser, nebula, options)).signIn();
  await it.go(`#/functions/${view}`);
  return it;
}

const button = (it, name) => it.page.getByRole("button", { name, exact: true });
const json = async (it) => JSON.parse((await it.page.getByLabel("JSON", { exact: true }).inputValue()).replace(/\b(\d{17,})\b/g, '"$1"'));

test("a form holds every type, nested, and the largest integers exactly", async () => {
  const it = await open("mirrors");
  const { page } = it;
  const fill = (label, value) => page.getByLabel(label, { exact: true }).fill(value);
  await page.getByLabel("yes", { exact: true }).check();
  await fill("tiny", "-128");
  await fill("small", "-32768");
  await fill("medium", "-2147483648");
  await fill("large", "-9223372036854775808");
  await fill("tiny-unsigned", "255");
  await fill("small-unsigned", "65535");
  await fill("medium-unsigned", "4294967295");
  await fill("large-unsigned", "18446744073709551615");
  await fill("single", "0.5");
  await fill("double", "NaN");
  await fill("letter", "🦀");
  await fill("text", "line one\nline two");
  await page.getByLabel("colour", { exact: true }).selectOption("deep-green");
  await page.getByLabel("execute-all").check();
  await page.getByLabel("Give maybe").check();
  await fill("maybe", "7");
  // `some` of nothing is another value than nothing.
  await page.getByLabel("Give nested-maybe").check();
  await page.getByLabel("outcome", { exact: true }).selectOption("err");
  await fill("err", "it failed");
  await fill("Part 0", "pairs");
  await page.getByRole("button", { name: "Add an item to Part 1", exact: true }).click();
  await page.getByRole("button", { name: "Add an item to Part 1 0", exact: true }).click();
  await fill("Part 1 0 0", "65535");
  for (const shape of ["circle", "polygon", "labelled"]) {
    await page.getByRole("button", { name: "Add an item to shapes" }).click();
    await page.getByLabel(/^shapes \d$/).last().selectOption(shape);
  }
  await fill("circle", "2.25");
  await page.getByRole("button", { name: "Add an item to polygon" }).click();
  const point = page.getByRole("group", { name: /^polygon 0/ });
  await point.getByLabel("Part 0", { exact: true }).fill("1");
  await point.getByLabel("Part 1", { exact: true }).fill("-1");
  const label = page.getByRole("group", { name: /^labelled/ });
  await label.getByLabel("text", { exact: true }).fill("label");
  await label.getByLabel("initial", { exact: true }).fill("l");
  const file = join(nebula.home, "bytes.bin");
  writeFileSync(file, Buffer.from([0, 1, 2, 255]));
  await page.getByLabel("From a file: bytes").first().setInputFiles(file);
  await page.getByText("4 B", { exact: true }).waitFor();

  const sent = {
    yes: true, tiny: -128, small: -32768, medium: -2147483648, large: "-9223372036854775808",
    "tiny-unsigned": 255, "small-unsigned": 65535, "medium-unsigned": 4294967295,
    "large-unsigned": "18446744073709551615", single: 0.5, double: "NaN", letter: "🦀", text: "line one\nline two",
    bytes: "AAEC/w==", colour: "deep-green", rights: ["execute-all"],
    shapes: [{ circle: 2.25 }, { polygon: [[1, -1]] }, { labelled: { text: "label", initial: "l" } }],
    maybe: 7, "nested-maybe": { some: null }, outcome: { err: "it failed" }, "bare-outcome": { ok: null },
    pair: ["pairs", [[65535]]],
  };
  const shown = (text) => JSON.parse(text.replace(/(-?\d{17,})/g, '"$1"'));
  assert.deepEqual(shown(await page.getByLabel("JSON", { exact: true }).inputValue()), sent);
  await it.isAccessible("a filled form");
  await it.shot("form-nested");

  await button(it, "Call").click();
  await page.getByRole("heading", { name: "Answer" }).waitFor();
  const tree = page.getByRole("group", { name: "JSON" });
  for (const number of ["18446744073709551615", "-9223372036854775808"]) await tree.getByText(number, { exact: true }).waitFor();
  // A closed branch is made when it is opened.
  assert.equal(await tree.getByText("65535", { exact: true }).count(), 1);
  await tree.locator("summary").filter({ hasText: "pair" }).locator("..").locator("summary").last().click();
  await tree.getByText("65535", { exact: true }).nth(1).waitFor();
  await page.getByRole("button", { name: "Text", exact: true }).click();
  const answer = shown(await page.getByLabel("Answer as text").innerText());
  assert.deepEqual(answer, sent);
  await it.close();
});

test("a key press on a choice loses nothing, and a removed item leaves the focus in the list", async () => {
  const it = await open("mirrors");
  const { page } = it;
  await page.getByLabel("outcome", { exact: true }).selectOption("err");
  await page.getByLabel("err", { exact: true }).fill("a long text");
  await page.getByLabel("outcome", { exact: true }).selectOption("ok");
  await page.getByLabel("outcome", { exact: true }).selectOption("err");
  assert.equal(await page.getByLabel("err", { exact: true }).inputValue(), "a long text");
  await page.getByLabel("Give maybe").check();
  await page.getByLabel("maybe", { exact: true }).fill("7");
  await page.getByLabel("Give maybe").uncheck();
  await page.getByLabel("Give maybe").check();
  assert.equal(await page.getByLabel("maybe", { exact: true }).inputValue(), "7");

  const add = page.getByRole("button", { name: "Add an item to shapes" });
  for (const shape of ["circle", "point", "circle"]) {
    await add.click();
    await page.getByLabel(/^shapes \d$/).last().selectOption(shape);
  }
  await page.getByLabel("circle", { exact: true }).first().fill("1.5");
  const focused = (label) => page.waitForFunction((it) => document.activeElement?.getAttribute("aria-label") === it, label);
  await page.getByRole("button", { name: "Remove item 0 of shapes" }).click();
  await focused("Remove item 0 of shapes");
  // The item in the place of the removed one doesn't have its values.
  await page.getByLabel("shapes 0", { exact: true }).selectOption("circle");
  assert.equal(await page.getByLabel("circle", { exact: true }).first().inputValue(), "");
  await page.getByRole("button", { name: "Remove item 1 of shapes" }).click();
  await focused("Remove item 0 of shapes");
  await page.getByRole("button", { name: "Remove item 0 of shapes" }).click();
  await focused("Add an item to shapes");
  await it.close();
});

test("a list of many items shows the one that is added", async () => {
  const it = await open("mirrors");
  const { page } = it;
  const value = await json(it);
  await page.getByLabel("JSON", { exact: true }).fill(JSON.stringify({ ...value, shapes: Array(150).fill("point") }));
  await page.getByText("1–100 of 150").waitFor();
  await page.getByRole("button", { name: "Add an item to shapes" }).click();
  await page.getByText("101–151 of 151").waitFor();
  await page.getByLabel("shapes 150", { exact: true }).waitFor();
  await it.isAccessible("a long list");
  await it.close();
});

test("the rows of a map keep their order while a key is typed", async () => {
  const it = await open("add");
  const { page } = it;
  // No guest has a map yet: the page is told that this one has.
  const description = await nebula.send("GET", "/api/v1/functions/add");
  description.current.signature = "handle: func(sizes: map<string, u8>) -> string";
  description.current.digest = "sha256:map";
  await page.route("**/api/v1/functions/add", (route) => route.fulfill({ json: description }));
  await it.go("#/functions");
  await it.go("#/functions/add");
  const add = page.getByRole("button", { name: "Add a key to sizes" });
  for (let count = 0; count < 3; count += 1) await add.click();
  const keys = page.getByLabel(/^Key /);
  await keys.nth(0).fill("b c");
  await keys.nth(1).fill("1");
  await keys.nth(2).fill("a");
  const values = () => keys.evaluateAll((all) => all.map((it) => it.value));
  assert.deepEqual(await values(), ["b c", "1", "a"]);
  assert.deepEqual(await json(it), { 1: null, "b c": null, a: null });
  await page.getByLabel("b c", { exact: true }).fill("256");
  await page.getByText("Out of range.").waitFor();
  // A key that is there already isn't taken.
  await keys.nth(2).fill("1");
  await page.getByText("sizes has this key already.").waitFor();
  await it.isAccessible("a map");
  await keys.nth(2).fill("12");
  assert.deepEqual(await json(it), { 1: null, 12: null, "b c": 256 });
  assert.deepEqual(await values(), ["b c", "1", "12"]);
  await it.close();
});

test("statuses and documents of a function are its answer", async () => {
  const it = await open("answers-as-told");
  const { page } = it;
  it.expected.push(/status of (401|400|409) .*answers-as-told/);
  const tell = async (text) => {
    await page.getByLabel("Input", { exact: true }).fill(text);
    await button(it, "Call").click();
  };
  const type = "urn:nebula:problem:trap";
  await tell("401 text/plain\nwho are you?");
  await page.getByText("401 the function's own error").waitFor();
  await page.getByLabel("Answer as text").getByText("who are you?").waitFor();
  await tell("302 text/plain\nelsewhere");
  await page.getByText("302 the function redirects").waitFor();
  await page.getByLabel("Answer as text").getByText("elsewhere").waitFor();
  // Documents that aren't of Nebula, or only claim to be.
  for (const document of ['{"type":null,"detail":"odd"}', '{"type":"about:blank","backtrace":"x","detail":"odd"}']) {
    await tell(`409 application/problem+json\n${document}`);
    await page.getByText("409 the function's own error").waitFor();
    await page.getByRole("group", { name: "JSON" }).getByText('"odd"').waitFor();
  }
  await tell(`400 application/problem+json\n{"type":"${type}","detail":"claimed","backtrace":"x","pointer":5,"pipelines":7}`);
  await page.getByText("400 trap").waitFor();
  await page.getByText("Claimed.").waitFor();
  await page.getByRole("navigation", { name: "Views", exact: true }).waitFor();
  await it.close();
});

test("input and answer outlive other views, and a deploy of the same type", async () => {
  await nebula.deploy("redeployed", guestFile("mirrors_payload"));
  const it = await open("redeployed");
  const { page } = it;
  await page.getByLabel("Input", { exact: true }).fill("some words");
  await button(it, "Call").click();
  await page.getByText("200 OK").waitFor();
  await it.go("#/functions/redeployed/versions");
  await page.getByRole("table").waitFor();
  await it.go("#/functions/redeployed");
  assert.equal(await page.getByLabel("Input", { exact: true }).inputValue(), "some words");
  await page.getByText("200 OK").waitFor();
  await nebula.deploy("redeployed", functionFile("word-count"));
  await page.getByText("This answer is from another version.").waitFor({ timeout: 20_000 });
  assert.equal(await page.getByLabel("Input", { exact: true }).inputValue(), "some words");
  await it.shot("old-answer");
  await button(it, "Call").click();
  await page.getByText("This answer is from another version.").waitFor({ state: "detached" });

  // A call that runs goes on while something else is shown, and a JSON that can't be read stays.
  await nebula.deploy("slow", guestFile("loops_forever"));
  it.expect(504, "/api/v1/functions/slow/call");
  await it.go("#/functions/slow");
  await button(it, "Call").click();
  await it.go("#/functions/add");
  await page.getByLabel("JSON", { exact: true }).fill("{ oops");
  await it.go("#/functions/slow");
  await page.getByText("504 deadline-exceeded").waitFor();
  await it.go("#/functions/add");
  assert.equal(await page.getByLabel("JSON", { exact: true }).inputValue(), "{ oops");
  await it.close();
});

test("what can't be sent is told before, and a file that changes is told after", async () => {
  const it = await open("mirrors-payload");
  const { page } = it;
  it.expected.push(/net::ERR_UPLOAD_FILE_CHANGED/);
  await page.getByLabel("Media type").fill("text/plain; title=Γ");
  await page.getByText("A media type has only letters from a to z").waitFor();
  assert.ok(await button(it, "Call").isDisabled());
  const file = join(nebula.home, "changing.txt");
  writeFileSync(file, "one");
  await page.getByLabel("From a file: Input").first().setInputFiles(file);
  await page.getByText("changing.txt").waitFor();
  await page.waitForTimeout(1100);
  writeFileSync(file, "another text");
  await button(it, "Call").click();
  await page.getByText("The file has changed. Choose it again.").waitFor();

  // A text of another encoding would become another text.
  await it.go("#/functions/csv-stats");
  const latin = join(nebula.home, "latin.csv");
  writeFileSync(latin, Buffer.from([0x61, 0xe4, 0x0a]));
  await page.getByLabel("From a file: csv").first().setInputFiles(latin);
  await page.getByText("latin.csv isn't a text in UTF-8.").waitFor();
  // Line ends of a file stay as they are, after a change too.
  const windows = join(nebula.home, "windows.csv");
  writeFileSync(windows, "a\r\n1\r\n");
  await page.getByLabel("From a file: csv").first().setInputFiles(windows);
  await page.waitForFunction(() => document.querySelector(".json-pane textarea")?.value.includes("\\r\\n"));
  await page.getByLabel("csv", { exact: true }).press("Control+End");
  await page.getByLabel("csv", { exact: true }).pressSequentially("2\n");
  assert.deepEqual(await json(it), { csv: "a\r\n1\r\n2\r\n" });
  await it.close();
});

test("form and JSON follow each other, and a mistake in the JSON has its place", async () => {
  const it = await open("csv-stats");
  const { page } = it;
  const area = page.getByLabel("JSON", { exact: true });
  await area.fill('{"csv": "a\\n1\\n", "delimiter": ";"}');
  assert.equal(await page.getByLabel("csv", { exact: true }).inputValue(), "a\n1\n");
  assert.equal(await page.getByLabel("delimiter", { exact: true }).inputValue(), ";");
  await page.getByLabel("Give delimiter").uncheck();
  assert.deepEqual(await json(it), { csv: "a\n1\n" });

  await area.fill('{\n  "csv": "a",\n  oops\n}');
  await page.getByText("Line 3, column 3:").waitFor();
  assert.ok(await button(it, "Call").isDisabled());
  await it.isAccessible("a mistake in the JSON");
  await page.getByRole("button", { name: "Go there" }).click();
  assert.equal(await area.evaluate((it) => it.value.slice(it.selectionStart)), "oops\n}");
  // The form shows what could be read last.
  assert.equal(await page.getByLabel("csv", { exact: true }).inputValue(), "a\n1\n");

  // The documentation of fields is beside them.
  await page.getByText("The character between values; a comma by default.").waitFor();
  // A value that the form can't show stays in the JSON.
  await area.fill('{"csv": 5}');
  await page.getByText("The JSON has another value here:").waitFor();
  await it.close();
});

test("wrong input is shown at the field that the server names", async () => {
  const it = await open("mirrors");
  const { page } = it;
  it.expect(400, "/api/v1/functions/mirrors/call");
  await page.getByLabel("JSON", { exact: true }).fill(JSON.stringify({
    yes: true, tiny: 1, small: 1, medium: 1, large: 1, "tiny-unsigned": 1, "small-unsigned": 1, "medium-unsigned": 1,
    "large-unsigned": 1, single: 1, double: 1, letter: "a", text: "", bytes: "", colour: "red", rights: [],
    shapes: ["point", { labelled: { text: "", initial: "too long" } }], outcome: { ok: 1 }, "bare-outcome": { ok: null },
    pair: ["", [[1, 70000]]],
  }));
  await button(it, "Call").click();
  await page.getByText("400 type-mismatch").waitFor();
  const initial = page.getByLabel("initial", { exact: true });
  await page.waitForFunction(() => document.activeElement?.id.endsWith("/shapes/1/labelled/initial"));
  const texts = await initial.getAttribute("aria-describedby");
  const described = await page.evaluate((ids) => ids.split(" ").map((id) => document.getElementById(id)?.textContent).join(), texts);
  assert.match(described, /Expected char/);
  assert.equal(await initial.getAttribute("aria-invalid"), "true");
  await it.isAccessible("a refused input");
  await it.shot("wrong-input");

  await initial.fill("l");
  await button(it, "Call").click();
  await page.waitForFunction(() => document.activeElement?.id.endsWith("/pair/1/0/1"));
  await page.getByLabel("Part 1 0 1", { exact: true }).fill("7");
  await button(it, "Call").click();
  await page.getByText("200 OK").waitFor();
  await it.close();
});

test("a missing argument is shown where it is missing", async () => {
  const it = await open("add");
  it.expect(400, "/api/v1/functions/add/call");
  await it.page.getByLabel("a", { exact: true }).fill("1");
  await button(it, "Call").click();
  await it.page.waitForFunction(() => document.activeElement?.id.endsWith("/b"));
  await it.page.getByLabel("b", { exact: true }).fill("9007199254740993");
  await button(it, "Call").click();
  await it.page.getByRole("region", { name: "Answer" }).getByText("9007199254740994").waitFor();
  await it.close();
});

test("an answer tells about its call: phases, cache, receipt, and a run without cache", async () => {
  const it = await open("add");
  const { page } = it;
  it.expect(422, "/api/v1/functions/add/call");
  await page.getByLabel("a", { exact: true }).fill("20");
  await page.getByLabel("b", { exact: true }).fill("22");
  await button(it, "Call").click();
  await page.getByText("The function ran; its result is cached now.").waitFor();
  await page.getByText("running", { exact: false }).first().waitFor();
  await page.getByLabel("Ask for a receipt", { exact: false }).check();
  await button(it, "Call").click();
  await page.getByText("A cached result from memory.").waitFor();
  const receipt = await page.getByLabel("The receipt", { exact: true }).innerText();
  assert.match(receipt.trim(), /^[\w-]+\.[\w-]+\.[\w-]*$/);
  await page.getByText("nebula replay add.receipt").waitFor();
  await it.isAccessible("an answer with a receipt");
  await it.shot("answer");
  const download = page.waitForEvent("download");
  await page.getByRole("region", { name: "Answer" }).getByRole("link", { name: "Download" }).click();
  assert.equal((await download).suggestedFilename(), "add.json");
  await button(it, "Run again without cache").click();
  await page.getByText("The function ran, because you asked for it.").waitFor();

  // The function's own error is an answer.
  await page.getByLabel("b", { exact: true }).fill("9223372036854775807");
  await button(it, "Call").click();
  await page.getByText("422 the function's own error").waitFor();
  await page.getByText("20 + 9223372036854775807 doesn't fit 64 bits").waitFor();
  await it.close();
});

for (const scheme of ["light", "dark"]) {
  test(`images, drawings and pages are shown as what they are (${scheme})`, () => showsAnswers(scheme));
}

async function showsAnswers(scheme) {
  const it = await open("mirrors-payload", { scheme });
  const { page } = it;
  const check = async (what) => {
    await it.isAccessible(`${what}, ${scheme}`);
    await it.shot(`answer-${what.replaceAll(" ", "-")}-${scheme}`);
  };
  await page.getByLabel("From a file: Input").first().setInputFiles(sampleFile("thumbnail/sample/input.png"));
  await page.getByText("input.png").waitFor();
  await button(it, "Call").click();
  const image = page.getByRole("img", { name: "The answer of the function" });
  await image.waitFor();
  await page.waitForFunction(() => document.querySelector(".picture img")?.naturalWidth > 10);
  await check("an image");

  await it.go("#/functions/qr-code");
  await page.getByLabel("Input", { exact: true }).fill("https://example.org");
  await button(it, "Call").click();
  await page.getByRole("button", { name: "Drawing" }).waitFor();
  await page.waitForFunction(() => document.querySelector(".picture img")?.naturalWidth > 10);
  await check("a drawing");

  await it.go("#/functions/markdown");
  const text = '# Title\n\n<script>fetch("//elsewhere.example")</script>\n\n![picture](https://elsewhere.example/a.png)\n\n* item';
  await page.getByLabel("text", { exact: true }).fill(text);
  await button(it, "Call").click();
  const frame = page.locator("iframe");
  await frame.waitFor();
  assert.equal(await frame.getAttribute("sandbox"), "");
  const inside = page.frameLocator("iframe");
  await inside.getByRole("heading", { name: "Title" }).waitFor();
  await check("a page");
  await page.getByRole("button", { name: "Text", exact: true }).click();
  await page.getByLabel("Answer as text").waitFor();

  // A page that wants everything gets nothing.
  await it.go("#/functions/mirrors-payload");
  await page.getByRole("button", { name: "Use a text instead" }).click();
  await page.getByLabel("Media type").fill("text/html");
  const hostile = `<!doctype html><base href="https://elsewhere.example/"><style>body{background:url(//elsewhere.example)}</style>
    <link rel=stylesheet href=//elsewhere.example/a.css><h1 style="color:red" onclick="top.location='//elsewhere.example'">Hello</h1>
    <img src="https://elsewhere.example/b.png"><iframe src="//elsewhere.example"></iframe><form action="//elsewhere.example"><button>Go</button></form>
    <script>parent.document.body.innerHTML = "taken"</script><meta http-equiv=refresh content="0;url=//elsewhere.example">`;
  await page.getByLabel("Input", { exact: true }).fill(hostile);
  await button(it, "Call").click();
  await inside.getByRole("heading", { name: "Hello" }).waitFor();
  await page.waitForTimeout(300);
  await page.getByRole("heading", { name: "Answer" }).waitFor();

  await page.getByLabel("Media type").fill("text/markdown");
  await page.getByLabel("Input", { exact: true }).fill("## A list\n\n1. *first*\n2. <b onclick=alert(1)>second</b>\n\n[a](javascript:alert(1))");
  await button(it, "Call").click();
  await page.getByRole("heading", { name: "A list" }).waitFor();
  assert.equal(await page.locator(".markdown b, .markdown a").count(), 0);
  await check("Markdown");
  await it.close();
}
