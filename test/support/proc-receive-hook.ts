/**
 * A proc-receive hook that does as a test says, and writes down what it was told. It finds its orders in
 * `orders.json` of the git directory, and leaves `told.json` there.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { GitClient } from "./git-client.js";
import { writeHook } from "./record-hooks.js";

export interface Orders {
  /** Its greeting: lines before the flush. undefined: `version=1` and the features that it was offered. */
  readonly greeting?: readonly string[];
  /** OLD, NEW and those of each command, OLD1, NEW1 …, are filled in. */
  readonly answer?: readonly string[];
  /** Written as it is in place of greeting or answer. */
  readonly raw?: string;
  readonly exit?: number;
  /** Dies there, with status 3. */
  readonly dies?: "at once" | "before its greeting" | "before the commands" | "before its answer";
  /** Answers without a flush at the end. */
  readonly unfinished?: boolean;
  /** Reads no push options though it asked for them. */
  readonly stderr?: string;
}

const SCRIPT = `
const fs = require("node:fs");
const orders = JSON.parse(fs.readFileSync("orders.json", "utf8"));
const told = [];
const save = () => fs.writeFileSync("told.json", JSON.stringify(told));
const die = (where) => { if (orders.dies === where) { save(); process.exit(3); } };
const exactly = (size) => {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const got = fs.readSync(0, bytes, at, size - at, null);
    if (got === 0) { told.push("end"); save(); process.exit(4); }
    at += got;
  }
  return bytes.toString("utf8");
};
const read = () => {
  for (const lines = []; ; ) {
    const size = parseInt(exactly(4), 16);
    if (size === 0) { told.push(lines); return lines; }
    lines.push(exactly(size - 4));
  }
};
const packet = (text) => (Buffer.byteLength(text) + 4).toString(16).padStart(4, "0") + text;
const say = (lines, end = "0000") => fs.writeSync(1, lines.map(packet).join("") + end);
die("at once");
const offered = (read()[0].trim().split("\\0")[1] || "").split(" ");
die("before its greeting");
const wants = offered.includes("push-options");
const greeting = orders.greeting || [wants ? "version=1\\0push-options" : "version=1"];
if (orders.raw !== undefined && orders.answer === undefined) fs.writeSync(1, orders.raw);
say(greeting);
die("before the commands");
const commands = read();
if (greeting.some((line) => line.includes("push-options"))) read();
save();
die("before its answer");
if (orders.stderr) fs.writeSync(2, orders.stderr);
const oids = {};
commands.map((line) => line.split(" ")).forEach(([old, oid, ref], i) => {
  oids["OLD" + (i || "")] = old;
  oids["NEW" + (i || "")] = oid;
});
const fill = (line) => line.replace(/(OLD|NEW)[0-9]*/g, (name) => oids[name]);
if (orders.answer) say(orders.answer.map(fill), orders.unfinished ? orders.raw || "" : "0000");
process.exit(orders.exit || 0);
`;

export function writeProcReceive(repository: GitClient, orders: Orders): void {
  writeFileSync(`${repository.directory}/orders.json`, JSON.stringify(orders));
  writeHook(repository, "proc-receive", SCRIPT, 0o755, `#!${process.execPath}`);
}

/** The sections that the hook read, each ended by a flush, and "end" where its input ended too soon. */
export function readTold(repository: GitClient): unknown {
  const file = `${repository.directory}/told.json`;
  if (!existsSync(file)) return undefined;
  const told: unknown = JSON.parse(readFileSync(file, "utf8"));
  rmSync(file);
  return told;
}
