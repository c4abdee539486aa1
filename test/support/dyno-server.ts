/** A server that builds in dynos, in a process of its own, to be killed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { DynoOptions } from "../../src/index.js";

export interface ServeProcess {
  readonly url: string;
  /** `kill -9` */
  kill(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL("./deploy-server.js", import.meta.url));

export async function startServeProcess(directory: string, dyno: DynoOptions): Promise<ServeProcess> {
  const child = spawn(process.execPath, [PROGRAM, directory, "dyno", JSON.stringify(dyno)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const [url] = (await Promise.race([
    once(createInterface(child.stdout), "line"),
    closed.then(() => {
      throw new Error("it did not start");
    }),
  ])) as [string];
  return {
    url,
    async kill() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}
