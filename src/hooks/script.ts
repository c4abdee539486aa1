/**
 * A script of the configuration: a text, or a program's file. Nothing is installed into repositories: a text is kept in a
 * directory that only this user reads, and its interpreter is called as the system would call it.
 * Specification: execve(2) (`#!`).
 */
import { accessSync, constants, statSync } from "node:fs";
import { access, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { GitwharfError } from "../base/errors.js";
import { makeTemporaryDirectory } from "./temporary-directory.js";

/** A text that begins with `#!` is a script; any other is the path of a program. */
export type Script =
  | string
  /** Without `#!` a script of `/bin/sh`. */
  | { readonly text: string }
  | { readonly file: string; readonly args?: readonly string[] };

export interface Program {
  readonly path: string;
  readonly args: readonly string[];
}

export interface ScriptDirectory {
  /** How to run it; what has gone from the directory is written anew. */
  programOf(script: CheckedScript, name: string): Promise<Program>;
  close(): Promise<void>;
}

export interface CheckedScript {
  readonly text?: string;
  readonly program: Program;
}

/** @param option for the message @throws server/bad-configuration */
export function checkScript(script: unknown, option: string): CheckedScript {
  const wrong = (why: string): GitwharfError =>
    new GitwharfError("server/bad-configuration", `${option} ${why}`);
  const { text, file, args } = partsOf(script);
  if (text !== undefined) {
    if (text.trim() === "" || text.includes("\0")) throw wrong("is an empty script");
    const [, path = "/bin/sh", arg] = /^#![ \t]*(\S+)(?:[ \t]+([^\n]*\S))?/.exec(text) ?? [];
    const why = whyNotRun(path);
    if (why !== undefined) throw wrong(`wants an interpreter that cannot be run: ${why}`);
    return { text, program: { path, args: arg === undefined ? [] : [arg] } };
  }
  if (file === undefined || file === "")
    throw wrong('is a script that begins with "#!", the path of a program, { text } or { file }');
  const path = resolve(file);
  const why = whyNotRun(path);
  if (why !== undefined)
    throw wrong(`names a program that cannot be run; the text of a script begins with "#!" (${why})`);
  return { program: { path, args } };
}

function whyNotRun(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return `${path} is no file`;
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function partsOf(script: unknown): {
  readonly text?: string;
  readonly file?: string;
  readonly args: readonly string[];
} {
  if (typeof script === "string")
    return script.startsWith("#!") ? { text: script, args: [] } : { file: script, args: [] };
  if (typeof script !== "object" || script === null) return { args: [] };
  const { text, file, args } = script as Record<string, unknown>;
  if (typeof text === "string") return { text, args: [] };
  const given: readonly unknown[] = Array.isArray(args) ? args : [];
  return typeof file === "string" ? { file, args: given.map(String) } : { args: [] };
}

export function createScriptDirectory(): ScriptDirectory {
  let directory: Promise<string> | undefined;
  /** All of them: of one that was tidied away something may be left. */
  const made = new Set<Promise<string>>();
  const written = new Map<CheckedScript, Promise<string>>();
  let count = 0;
  const make = (): Promise<string> => {
    const one = makeTemporaryDirectory(tmpdir(), "hooks");
    made.add(one);
    one.catch(() => made.delete(one));
    return one;
  };
  /** Each script has its own: two of one name may be written at the same time. */
  const makeOwn = async (): Promise<string> => {
    const into = (directory ??= make());
    try {
      const own = join(await into, String(count++));
      await mkdir(own, { mode: 0o700 });
      return own;
    } catch (error) {
      if (directory === into && (!made.has(into) || isMissing(error))) directory = undefined;
      throw error;
    }
  };
  const write = async (script: CheckedScript, name: string): Promise<string> => {
    // Who tidies temporary directories may have been here.
    const path = join(await makeOwn().catch(makeOwn), name);
    await writeFile(path, script.text ?? "", { mode: 0o700 });
    return path;
  };
  const pathOf = (script: CheckedScript, name: string): Promise<string> => {
    let path = written.get(script);
    if (path === undefined) {
      written.set(script, (path = write(script, name)));
      path.catch(() => written.delete(script));
    }
    return path;
  };
  return {
    async programOf(script, name) {
      if (script.text === undefined) return script.program;
      const before = pathOf(script, name);
      let path = await before;
      try {
        await access(path);
      } catch {
        // Of several who miss it one writes it anew.
        if (written.get(script) === before) written.delete(script);
        path = await pathOf(script, name);
      }
      return { path: script.program.path, args: [...script.program.args, path] };
    },
    async close() {
      const directories = await Promise.all([...made].map((one) => one.catch(() => undefined)));
      directory = undefined;
      made.clear();
      written.clear();
      for (const one of directories) if (one !== undefined) await rm(one, { recursive: true, force: true });
    },
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
