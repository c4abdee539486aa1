/**
 * The server of `bench/doors.ts`, in a process of its own: it opens its doors as it is told, and tells on demand what it has
 * used. Started with `fork` and `--expose-gc`.
 */
import { createGitServer } from "../src/server/git-server.js";
import type { GitServerOptions, ListenOptions } from "../src/server/git-server-options.js";

export interface DoorsOrder {
  readonly options: GitServerOptions;
  readonly listen: ListenOptions;
}

export interface DoorsFigures {
  readonly cpuMs: number;
  readonly residentBytes: number;
}

export type DoorsAnswer =
  | { readonly kind: "listening"; readonly http: string; readonly ssh: string; readonly git: string }
  | ({ readonly kind: "figures"; readonly refused: number } & DoorsFigures);

/** Credentials that were looked at and found wrong. */
let refused = 0;

process.on("message", (message: "figures" | DoorsOrder) => {
  void (message === "figures" ? tell() : open(message));
});
process.on("disconnect", () => process.exit());

async function open({ options, listen }: DoorsOrder): Promise<void> {
  const server = createGitServer({
    ...options,
    log: ({ message }) => {
      if (message.startsWith("credentials were refused")) refused++;
    },
  });
  const { http, ssh, git } = await server.listen(listen);
  answer({ kind: "listening", http: http.url, ssh: ssh?.url ?? "", git: git?.url ?? "" });
}

async function tell(): Promise<void> {
  // What is garbage is no cost of a connection.
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { user, system } = process.cpuUsage();
  answer({
    kind: "figures",
    cpuMs: (user + system) / 1000,
    residentBytes: process.memoryUsage.rss(),
    refused,
  });
}

function answer(message: DoorsAnswer): void {
  process.send?.(message);
}
