/**
 * The audit log as a file that only grows, written by as many processes as like. Each batch: take the lock, see how the
 * file ends now, append in one go, remember the head, give the lock back, wait for the disk if somebody needs it.
 *
 * Files are moved away by others, at any time: the next batch goes into a new one, and the chain goes on in it.
 */
import { type FileHandle, mkdir, open, stat } from "node:fs/promises";
import type { Stats } from "node:fs";
import { dirname } from "node:path";
import { GitwharfError } from "../../base/errors.js";
import { type AuditEntry, formatEntry } from "./audit-entry.js";
import { formatHead, headPathOf, readHead } from "./audit-head.js";
import { type ChainEnd, linkLine } from "./audit-line.js";
import { createAuditLock } from "./audit-lock.js";
import { inspectEnd, type Recovery } from "./audit-recovery.js";
import { auditFailed, type AuditWriter } from "./audit-writer.js";

export interface AuditFileOptions {
  readonly path: string;
  /** "sync": what is asked for as durable is on the disk. "none": the operating system writes when it likes. */
  readonly durability: "sync" | "none";
  /** Told when the log can no longer be written, and not again before it could be. */
  readonly onFailure?: (error: GitwharfError) => void;
  readonly lockWaitMs?: number;
}

/** Of one batch. */
const BATCH_BYTES_MAX = 1024 * 1024;
/** Of what waits for a log that cannot be written: more is counted, and told of later. */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;

interface Waiting {
  readonly time: number;
  readonly texts: readonly string[];
  readonly bytes: number;
  readonly durable: boolean;
  /** Nobody waits any more for what is written late. */
  readonly settle: ((error?: GitwharfError) => void) | undefined;
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly device: number;
  readonly inode: number;
  sizeBytes: number;
  end: ChainEnd;
  isUnended: boolean;
  recovery: Recovery | undefined;
}

export function createAuditFile(options: AuditFileOptions): AuditWriter {
  return new AuditFile(options);
}

class AuditFile implements AuditWriter {
  readonly #options: AuditFileOptions;
  readonly #lock: ReturnType<typeof createAuditLock>;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #lost = 0;
  #file: OpenFile | undefined;
  #head: FileHandle | undefined;
  /** The end as this process saw it last. */
  #seen: ChainEnd | undefined;
  #working: Promise<void> | undefined;
  /** The lock is the process's: whatever takes it waits for what came before. */
  #last: Promise<unknown> = Promise.resolve();
  #failure: GitwharfError | undefined;

  constructor(options: AuditFileOptions) {
    this.#options = options;
    this.#lock = createAuditLock(`${options.path}.lock`, options.lockWaitMs);
  }

  append(entries: readonly AuditEntry[], { durable = false } = {}): Promise<void> {
    const now = Date.now();
    return new Promise((resolve, reject) => {
      entries.forEach((entry, i) => {
        const texts = formatEntry(entry);
        const bytes = texts.reduce((sum, text) => sum + text.length, 0);
        if (this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
          this.#lost++;
          if (i === entries.length - 1) reject(this.#failure ?? tooMuch(this.#options.path));
          return;
        }
        this.#waitingBytes += bytes;
        const settle = (error?: GitwharfError): void => (error === undefined ? resolve() : reject(error));
        const isLast = i === entries.length - 1;
        const { time = now } = entry;
        this.#waiting.push({ time, texts, bytes, durable, settle: isLast ? settle : undefined });
      });
      if (entries.length === 0) resolve();
      this.#work();
    });
  }

  async ready(): Promise<void> {
    if (this.#file !== undefined && this.#failure === undefined) return;
    await this.#inTurn(async () => {
      if (this.#waiting.length > 0) await this.#writeBatch();
      else await this.#hold(() => this.#look());
    });
  }

  isFailing(): boolean {
    return this.#failure !== undefined;
  }

  async close(): Promise<void> {
    await this.#working;
    // What waits for a log that failed is tried once more.
    await this.#inTurn(() => this.#writeAll()).catch(() => undefined);
    await this.#forget();
    await this.#head?.close().catch(() => undefined);
    this.#head = undefined;
    this.#lock.close();
  }

  #work(): void {
    this.#working ??= (async () => {
      try {
        await this.#inTurn(() => this.#writeAll());
      } catch {
        // Those who wait have been told.
      } finally {
        this.#working = undefined;
        // Somebody may have come while this was ending.
        if (this.#waiting.at(-1)?.settle !== undefined) this.#work();
      }
    })();
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#writeBatch();
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work).then(
      () => void (this.#failure = undefined),
      (error: unknown) => {
        throw this.#failed(error);
      },
    );
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** One batch; when that fails, those who wait are told, and what was not written waits on. */
  async #writeBatch(): Promise<void> {
    const batch = this.#takeBatch();
    const written = { count: 0 };
    try {
      const handle = await this.#hold(async () => {
        const file = await this.#look();
        await this.#write(file, batch, written);
        return file.handle;
      });
      if (this.#options.durability === "sync" && batch.some(({ durable }) => durable))
        await handle.datasync();
    } catch (error) {
      await this.#forget();
      const failure = asFailure(this.#options.path, error);
      const late = batch.slice(written.count);
      for (const { bytes } of late) this.#waitingBytes += bytes;
      const told = [...batch, ...this.#waiting];
      this.#waiting = [...late, ...this.#waiting].map((each) => ({ ...each, settle: undefined }));
      for (const { settle } of told) settle?.(failure);
      throw failure;
    }
    for (const { settle } of batch) settle?.();
  }

  async #hold<T>(work: () => Promise<T>): Promise<T> {
    if (this.#file === undefined) await mkdir(dirname(this.#options.path), { recursive: true, mode: 0o700 });
    return this.#lock.hold(work);
  }

  #takeBatch(): readonly Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const each of this.#waiting) {
      if (count > 0 && bytes + each.bytes > BATCH_BYTES_MAX) break;
      bytes += each.bytes;
      count++;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  /** The file as it is now; to be called with the lock. */
  async #look(): Promise<OpenFile> {
    const { path } = this.#options;
    const known = this.#file;
    const now = await statOf(path);
    const isSame =
      known !== undefined && now !== undefined && now.ino === known.inode && now.dev === known.device;
    if (isSame && now.size === known.sizeBytes) return known;
    const handle = isSame ? known.handle : await this.#open();
    try {
      const { size, ino, dev } = await handle.stat();
      const head = laterOf(await readHead(path), this.#seen);
      const { end, isUnended, recovery } = await inspectEnd(handle, { path, sizeBytes: size, head });
      this.#file = { handle, device: dev, inode: ino, sizeBytes: size, end, isUnended, recovery };
      return this.#file;
    } catch (error) {
      this.#file = undefined;
      await handle.close().catch(() => undefined);
      throw error;
    }
  }

  async #open(): Promise<FileHandle> {
    const { path, durability } = this.#options;
    await this.#forget();
    const handle = await open(path, "a+", 0o600);
    if (!(await handle.stat()).isFile()) {
      await handle.close();
      throw new GitwharfError("access/audit-failed", `the audit log ${path} is no file`);
    }
    if (durability === "sync") await syncDirectory(dirname(path));
    return handle;
  }

  async #write(file: OpenFile, batch: readonly Waiting[], written: { count: number }): Promise<void> {
    const chunks: Buffer[] = file.isUnended ? [Buffer.from("\n")] : [];
    let { end } = file;
    const add = (time: number, text: string): void => {
      const linked = linkLine(end, time, text);
      chunks.push(linked.line, Buffer.from("\n"));
      ({ end } = linked);
    };
    if (file.recovery !== undefined) add(Date.now(), recoveryText(file.recovery));
    const lost = this.#lost;
    if (lost > 0)
      for (const text of formatEntry({ event: "entries-lost", details: { count: lost } }))
        add(Date.now(), text);
    /** Where each entry ends. */
    const ends: number[] = [];
    let sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    for (const { time, texts } of batch) {
      const from = chunks.length;
      for (const text of texts) add(time, text);
      sizeBytes += chunks.slice(from).reduce((sum, chunk) => sum + chunk.length, 0);
      ends.push(sizeBytes);
    }
    const bytes = Buffer.concat(chunks);
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await file.handle.write(bytes, at, bytes.length - at);
      at += bytesWritten;
      written.count = ends.filter((each) => each <= at).length;
    }
    this.#lost -= lost;
    file.sizeBytes += bytes.length;
    file.end = end;
    file.isUnended = false;
    file.recovery = undefined;
    this.#seen = end;
    await this.#remember(end);
  }

  async #remember(end: ChainEnd): Promise<void> {
    // "a+" makes it, "r+" writes where it is told to.
    if (this.#head === undefined) {
      await (await open(headPathOf(this.#options.path), "a+", 0o600)).close();
      this.#head = await open(headPathOf(this.#options.path), "r+");
    }
    const bytes = formatHead(end);
    await this.#head.write(bytes, 0, bytes.length, 0);
  }

  async #forget(): Promise<void> {
    const old = this.#file;
    this.#file = undefined;
    await old?.handle.close().catch(() => undefined);
  }

  #failed(error: unknown): GitwharfError {
    const failure = asFailure(this.#options.path, error);
    const isNews = this.#failure === undefined;
    this.#failure = failure;
    if (isNews) this.#options.onFailure?.(failure);
    return failure;
  }
}

function recoveryText(recovery: Recovery): string {
  return JSON.stringify({ event: "recovery", recovery }).slice(1);
}

function laterOf(one: ChainEnd | undefined, other: ChainEnd | undefined): ChainEnd | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one.sequence >= other.sequence ? one : other;
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function asFailure(path: string, error: unknown): GitwharfError {
  return auditFailed(`the audit log ${path} cannot be written`, error);
}

function tooMuch(path: string): GitwharfError {
  return new GitwharfError("access/audit-failed", `too much waits to be written into the audit log ${path}`);
}
