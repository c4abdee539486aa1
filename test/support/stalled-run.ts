/**
 * Ends a test run that stands still. A test that blocks its process, or a process that does not end, is beyond Vitest's
 * own time limits: the run would wait for ever and say nothing. This says which files and tests were at work and which
 * processes stood below them, ends those, and fails the run.
 */
import { execFileSync } from "node:child_process";
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** Above the longest time limit of one test with its hooks. */
const STILL_MS = 8 * 60_000;
const LOOK_EVERY_MS = 10_000;

interface AtWork {
  /** The last thing that was heard of the file. */
  doing: string;
  heardAt: number;
}

export default class StalledRun implements Reporter {
  readonly #files = new Map<string, AtWork>();
  readonly #ended = new Set<string>();
  #heardAt = Date.now();
  #timer: NodeJS.Timeout | undefined;

  onTestRunStart(): void {
    this.#heardAt = Date.now();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  onTestRunEnd(): void {
    clearInterval(this.#timer);
  }

  onTestModuleQueued(file: TestModule): void {
    this.#hear(file, "loading");
  }

  onTestModuleEnd(file: TestModule): void {
    this.#heardAt = Date.now();
    this.#files.delete(file.relativeModuleId);
    this.#ended.add(file.relativeModuleId);
  }

  onTestCaseReady(test: TestCase): void {
    this.#hear(test.module, `in "${test.fullName}"`);
  }

  onTestCaseResult(test: TestCase): void {
    this.#hear(test.module, `after "${test.fullName}"`);
  }

  #hear(file: TestModule, doing: string): void {
    this.#heardAt = Date.now();
    // The result of its last test may come behind the end of its file.
    if (this.#ended.has(file.relativeModuleId)) return;
    this.#files.set(file.relativeModuleId, { doing, heardAt: this.#heardAt });
  }

  #look(): void {
    const since = Date.now() - STILL_MS;
    if (this.#heardAt > since && [...this.#files.values()].every(({ heardAt }) => heardAt > since)) return;
    const below = descendants(process.pid);
    console.error(
      `\nThe test run stands still: nothing was heard for ${STILL_MS / 60_000} minutes. At work:`,
    );
    for (const [name, { doing, heardAt }] of this.#files)
      console.error(`  ${name}: ${doing}, ${Math.round((Date.now() - heardAt) / 1000)} s ago`);
    console.error("Processes below it:");
    for (const { line } of below) console.error(`  ${line}`);
    for (const { pid } of below.toReversed()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
    process.exit(1);
  }
}

function descendants(root: number): readonly { readonly pid: number; readonly line: string }[] {
  const table = execFileSync("ps", ["-ww", "-eo", "pid,ppid,stat,etime,time,args"], { encoding: "utf8" });
  const lines = table.split("\n").slice(1);
  const found: { pid: number; line: string }[] = [];
  const add = (parent: number): void => {
    for (const line of lines) {
      const [pid, ppid] = line.trim().split(/\s+/, 2).map(Number);
      if (pid === undefined || ppid !== parent || line.includes(" ps -ww ")) continue;
      found.push({ pid, line: line.trim() });
      add(pid);
    }
  };
  add(root);
  return found;
}
