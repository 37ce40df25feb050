// A real server for one test file, in a directory of its own, and what tests need of it.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const repository = join(dirname(fileURLToPath(import.meta.url)), "../../../../..");

/** The binary. `cargo xtask ci` names the one that it has built. */
const binary = process.env.NEBULA_BINARY ?? join(repository, "target/debug/nebula");

/** The components that `cargo build --workspace` has built. */
const built = process.env.NEBULA_GUESTS ?? join(repository, "target/guests/wasm32-wasip2/release");

/** Returns a path in the repository. */
export const root = (path) => join(repository, path);

/** Returns the path of a function's component, from `functions/`. */
export const functionFile = (name) => join(built, `${name.replaceAll("-", "_")}.wasm`);

/** Returns the path of a guest's component, from `tests/guests/`. */
export const guestFile = (name) => join(built, "examples", `${name}.wasm`);

/** Returns the path of a function's or pipeline's sample. */
export const sampleFile = (name) => join(repository, "functions", name);

export class Nebula {
  /** Starts a server with more arguments. */
  static start(...args) {
    return Nebula.run("serve", args);
  }

  /** Builds, deploys and serves the functions of a directory. */
  static up(directory) {
    return Nebula.run("up", ["--no-watch", directory]);
  }

  static async run(command, args) {
    const home = mkdtempSync(join(tmpdir(), "nebula-console-"));
    const addresses = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir", join(home, "data")];
    const child = spawn(binary, [command, ...addresses, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NEBULA_LOG: "error" },
    });
    const nebula = new Nebula();
    Object.assign(nebula, { home, child });
    await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the server exited with ${code}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const [label, url] = line.split(/\s+/);
        if (["calls", "control", "console"].includes(label)) nebula[label] = url;
        if (nebula.calls && nebula.control && nebula.console) resolve();
      });
    });
    nebula.token = readFileSync(join(home, "data/token"), "utf8").trim();
    return nebula;
  }

  /** Ends the server and removes its directory. */
  async stop() {
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGINT");
    await gone;
    rmSync(this.home, { recursive: true, force: true });
  }

  /** Sends a request to the control plane with the first token, and fails unless it succeeds. */
  async send(method, path, body, headers = {}) {
    const response = await fetch(this.control + path, {
      method,
      body,
      headers: { authorization: `Bearer ${this.token}`, ...headers },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** Deploys a component. */
  async deploy(name, file) {
    return this.send("PUT", `/api/v1/functions/${name}`, readFileSync(file));
  }

  /** Deploys a pipeline. */
  async deployPipeline(name, description) {
    const headers = { "content-type": "application/json" };
    return this.send("PUT", `/api/v1/pipelines/${name}`, JSON.stringify(description), headers);
  }

  /** Creates a token and returns its secret. */
  async createToken(name, scope) {
    const headers = { "content-type": "application/json" };
    return (await this.send("POST", "/api/v1/tokens", JSON.stringify({ name, scope }), headers)).secret;
  }

  /** Calls a function on the data plane. */
  async call(name, body, mediaType = "application/json") {
    return fetch(`${this.calls}/f/${name}`, { method: "POST", body, headers: { "content-type": mediaType } });
  }
}
