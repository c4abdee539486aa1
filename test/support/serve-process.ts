/** `gitwharf serve` as a process of its own, which can be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../../src/cli/gitwharf.js", import.meta.url));
/** This build, by this Node. */
export const SERVE_COMMAND: readonly string[] = [process.execPath, CLI];

export interface ServeProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** What it has written to both outputs so far. */
  readonly printed: () => string;
  /** Sends a signal and waits for the end. @returns the exit code, null after SIGKILL */
  end(signal: "SIGKILL" | "SIGTERM" | "SIGINT"): Promise<number | null>;
}

/** @param options of `gitwharf serve`; it listens on a free port */
export function startServe(directory: string, ...options: readonly string[]): Promise<ServeProcess> {
  return startServeOf(CLI, directory, ...options);
}

/** @param cli another build of the command */
export function startServeOf(
  cli: string,
  directory: string,
  ...options: readonly string[]
): Promise<ServeProcess> {
  return startServeWith({ command: [process.execPath, cli] }, directory, ...options);
}

export interface ServeCommand {
  /** What runs the command. @default this build */
  readonly command?: readonly string[];
  /** Besides this process's. */
  readonly env?: NodeJS.ProcessEnv;
}

/** In a surrounding of a test's own. */
export async function startServeWith(
  { command = SERVE_COMMAND, env }: ServeCommand,
  directory: string,
  ...options: readonly string[]
): Promise<ServeProcess> {
  const [program = "", ...first] = command;
  const child = spawn(
    program,
    [...first, "serve", directory, "--http", "127.0.0.1:0", "--ssh", "off", ...options],
    { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  const closed = once(child, "close");
  let text = "";
  const url = await new Promise<string>((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      text += chunk.toString();
      const found = /on (http:\/\/\S+)[^]*Ctrl-C/.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
  });
  return {
    url,
    child,
    printed: () => text,
    async end(signal) {
      child.kill(signal);
      await closed;
      return child.exitCode;
    },
  };
}
