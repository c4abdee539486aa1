/**
 * What builds print: a file for each, to which its builder appends and which anybody follows, from the beginning, while it
 * grows and after. In the builder's own process a follower may slow the build: it waits as long as he is more than a little
 * behind and goes on reading. So nothing piles up in memory, and a follower who has gone, or has gone to sleep, holds nobody
 * for long: what he has missed stands in the file.
 */
import { type FileHandle, open } from "node:fs/promises";

/** Between what is written and what a follower who slows has taken. */
const AHEAD_BYTES_MAX = 64 * 1024;
const CHUNK_BYTES = 64 * 1024;
/** How often a file that another process writes is looked at. */
const LOOK_AGAIN_MS = 300;
const PATIENCE_MS = 60_000;

export interface BuildLogsOptions {
  /** How long a follower who slows may take nothing at all before the build goes on without him. @default 60,000 */
  readonly patienceMs?: number;
}

export interface BuildLogs {
  /** Begins it anew. One writer at a time. When the signal fires nobody is waited for any more. */
  write(id: string, path: string, signal: AbortSignal): Promise<BuildLogWriter>;
  /**
   * Hands on what was printed, in order, until the build is over and everything has been handed on, or the signal fires.
   * @param isOver asked now and then, and as soon as this process knows
   */
  follow(follower: LogFollower): Promise<void>;
  /** The build's rows have changed in this process: followers look again. */
  notify(id: string): void;
}

export interface BuildLogWriter {
  /** Waits for followers who slow. */
  append(bytes: Uint8Array): Promise<void>;
  /** What is appended from here on is dropped. */
  close(): Promise<void>;
}

export interface LogFollower {
  readonly id: string;
  readonly path: string;
  readonly print: (bytes: Uint8Array) => Promise<void> | void;
  readonly isOver: () => Promise<boolean>;
  /** Does the build wait for this one? */
  readonly slows: boolean;
  readonly signal: AbortSignal;
}

/** One build, as far as this process has to do with it. */
interface Live {
  writtenBytes: number;
  readonly slowing: Set<Position>;
  readonly sleepers: Set<() => void>;
  users: number;
}

interface Position {
  takenBytes: number;
  /** Since when the build waits for him, in which time he has taken nothing; undefined: it does not. */
  heldSince: number | undefined;
}

export function createBuildLogs({ patienceMs = PATIENCE_MS }: BuildLogsOptions = {}): BuildLogs {
  const lives = new Map<string, Live>();
  const enter = (id: string): Live => {
    let live = lives.get(id);
    if (live === undefined)
      lives.set(id, (live = { writtenBytes: 0, slowing: new Set(), sleepers: new Set(), users: 0 }));
    live.users++;
    return live;
  };
  const leave = (id: string, live: Live): void => {
    if (--live.users === 0) lives.delete(id);
  };
  const wake = (live: Live): void => {
    const sleepers = [...live.sleepers];
    live.sleepers.clear();
    for (const sleeper of sleepers) sleeper();
  };
  /** With who is furthest behind. */
  const patienceLeft = (live: Live): number => {
    const now = performance.now();
    let left = 0;
    for (const each of live.slowing) {
      if (live.writtenBytes - each.takenBytes <= AHEAD_BYTES_MAX) continue;
      each.heldSince ??= now;
      left = Math.max(left, each.heldSince + patienceMs - now);
    }
    return left;
  };
  const sleep = (live: Live, timeoutMs: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const end = (): void => {
        live.sleepers.delete(end);
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      live.sleepers.add(end);
      signal.addEventListener("abort", end, { once: true });
      if (signal.aborted) end();
    });

  return {
    async write(id, path, signal) {
      const file = await open(path, "w", 0o600);
      const live = enter(id);
      live.writtenBytes = 0;
      let isClosed = false;
      return {
        async append(bytes) {
          if (isClosed) return;
          for (let at = 0; at < bytes.length; ) {
            const { bytesWritten } = await file.write(bytes, at);
            at += bytesWritten;
          }
          live.writtenBytes += bytes.length;
          wake(live);
          for (let leftMs = patienceLeft(live); leftMs > 0; leftMs = patienceLeft(live)) {
            if (isClosed || signal.aborted) break;
            await sleep(live, leftMs, signal);
          }
        },
        async close() {
          if (isClosed) return;
          isClosed = true;
          wake(live);
          leave(id, live);
          await file.close();
        },
      };
    },
    async follow({ id, path, print, isOver, slows, signal }) {
      const live = enter(id);
      const position: Position = { takenBytes: 0, heldSince: undefined };
      if (slows) live.slowing.add(position);
      let file: FileHandle | undefined;
      try {
        const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
        while (!signal.aborted) {
          // Asked before reading: what is written before it is over is read after.
          const over = await isOver();
          file ??= await openIfThere(path);
          let taken = 0;
          while (file !== undefined && !signal.aborted) {
            const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, position.takenBytes);
            if (bytesRead === 0) break;
            taken += bytesRead;
            await print(Buffer.from(buffer.subarray(0, bytesRead)));
            position.takenBytes += bytesRead;
            position.heldSince = undefined;
            wake(live);
          }
          if (over) return;
          if (taken > 0) continue;
          // Another builder begins it anew after one that died.
          if (file !== undefined && (await file.stat()).size < position.takenBytes) position.takenBytes = 0;
          else await sleep(live, LOOK_AGAIN_MS, signal);
        }
      } finally {
        live.slowing.delete(position);
        wake(live);
        leave(id, live);
        await file?.close();
      }
    },
    notify(id) {
      const live = lives.get(id);
      if (live !== undefined) wake(live);
    },
  };
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
