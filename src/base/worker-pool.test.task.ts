/** Tasks for worker-pool.test.ts. */
import { receiveMessageOnPort, type MessagePort } from "node:worker_threads";
import { GitwharfError } from "./errors.js";

export type TestTask =
  | { readonly do: "add"; readonly a: number; readonly b: number }
  | { readonly do: "peer-error" }
  | { readonly do: "defect" }
  | { readonly do: "full-disk" }
  | { readonly do: "uncloneable-details" }
  | { readonly do: "spin" }
  | { readonly do: "exit" }
  | { readonly do: "echo"; readonly port: MessagePort }
  | { readonly do: "meet"; readonly counter: SharedArrayBuffer; readonly parties: number };

export default async function run(task: TestTask): Promise<unknown> {
  switch (task.do) {
    case "add":
      return task.a + task.b;
    case "peer-error":
      throw new GitwharfError("pack/bad-zlib", "entry at 12 does not inflate", { details: { offset: 12 } });
    case "full-disk": {
      const cause = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      cause.cause = cause;
      throw new GitwharfError("storage/io", "writing a pack failed", {
        cause: new GitwharfError("storage/io", "the spool", { cause }),
      });
    }
    case "defect":
      throw new TypeError("x is not a function");
    case "uncloneable-details":
      throw new GitwharfError("pack/bad-pack", "odd", { details: { f: () => 1 } });
    case "spin":
      for (;;) Math.random();
    case "exit":
      process.exit(3);
      break;
    case "echo": {
      const { port } = task;
      await new Promise<void>((resolve) => {
        port.on("message", (m: unknown) => {
          if (m === "end") resolve();
          else port.postMessage(m);
        });
      });
      receiveMessageOnPort(port);
      port.close();
      return "closed";
    }
    case "meet": {
      const cells = new Int32Array(task.counter);
      Atomics.add(cells, 0, 1);
      Atomics.notify(cells, 0);
      for (;;) {
        const seen = Atomics.load(cells, 0);
        if (seen >= task.parties) return seen;
        if (Atomics.wait(cells, 0, seen, 20_000) === "timed-out") return seen;
      }
    }
  }
  return undefined;
}
