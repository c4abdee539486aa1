/**
 * Reads audit logs from their first byte to their last, in bounded memory, and says what is wrong with them and where.
 * Several files are one chain, in the order in which they are given.
 *
 * What this cannot see: a tail that was cut off at a line's end, and a chain that was written anew from some line on.
 * Both show against a head that was remembered elsewhere.
 */
import { createReadStream } from "node:fs";
import { createHash } from "node:crypto";
import { cleanText, LINE_BYTES_MAX } from "./audit-entry.js";
import { readHead } from "./audit-head.js";
import { type AuditLine, type ChainEnd, GENESIS, parseLine } from "./audit-line.js";
import type { Recovery } from "./audit-recovery.js";

export interface AuditFinding {
  readonly file: string;
  /** From 1 on. */
  readonly line: number;
  readonly message: string;
  /** False: it is explained by the log itself, a crash for instance. */
  readonly isError: boolean;
}

export interface AuditSummary {
  readonly lines: number;
  readonly first: number | undefined;
  readonly last: number | undefined;
  /** Of the last line: to be remembered elsewhere. */
  readonly head: string;
  readonly errors: number;
}

export interface VerifyAuditOptions {
  readonly onFinding: (finding: AuditFinding) => void;
  /** The head of the file before the first one. @default the log begins here */
  readonly after?: string | undefined;
  /** A head that was remembered: a line of the log must have it. */
  readonly head?: string | undefined;
}

/** @throws what reading a file throws */
export async function verifyAudit(
  files: readonly string[],
  options: VerifyAuditOptions,
): Promise<AuditSummary> {
  const chain = new Chain(options);
  for (const file of files) {
    // Before the file: it is remembered after each line.
    const remembered = await readHead(file);
    chain.begin(file);
    for await (const line of linesOf(file)) chain.take(line);
    chain.endFile(remembered);
  }
  return chain.finish();
}

interface RawLine {
  /** undefined: longer than any line of ours. */
  readonly bytes: Buffer | undefined;
  readonly hash: string;
  readonly sizeBytes: number;
  readonly isEnded: boolean;
}

async function* linesOf(file: string): AsyncIterable<RawLine> {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  let hash = createHash("sha256");
  const keep = (bytes: Buffer): void => {
    sizeBytes += bytes.length;
    hash.update(bytes);
    if (sizeBytes > LINE_BYTES_MAX) parts = [];
    else parts.push(bytes);
  };
  const take = (isEnded: boolean): RawLine => {
    const bytes = sizeBytes > LINE_BYTES_MAX ? undefined : Buffer.concat(parts);
    const line = { bytes, hash: hash.digest("hex"), sizeBytes, isEnded };
    parts = [];
    sizeBytes = 0;
    hash = createHash("sha256");
    return line;
  };
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      keep(chunk.subarray(start, end));
      yield take(true);
      start = end + 1;
    }
    if (start < chunk.length) keep(chunk.subarray(start));
  }
  if (sizeBytes > 0) yield take(false);
}

/** Lines one after the other that are none; they may turn out to be torn ones. */
interface Strange {
  readonly firstLine: number;
  lines: number;
  bytes: number;
  readonly hash: ReturnType<typeof createHash>;
}

class Chain {
  readonly #options: VerifyAuditOptions;
  #file = "";
  #line = 0;
  #lines = 0;
  #errors = 0;
  #first: number | undefined;
  /** undefined: nothing is known of what is before the first line. */
  #end: ChainEnd | undefined;
  /** Of the line before that one: an inserted line is known by it. */
  #before: string | undefined;
  #sequence: number | undefined;
  /** Of the last line that is one. */
  #good: ChainEnd | undefined;
  #strange: Strange | undefined;
  #hasHead: boolean;
  #sinceHead = 0;
  #isTorn = false;

  constructor(options: VerifyAuditOptions) {
    this.#options = options;
    this.#hasHead = options.head === undefined || options.head === (options.after ?? GENESIS);
    this.#end = options.after === undefined ? { sequence: 0, hash: GENESIS } : undefined;
  }

  begin(file: string): void {
    this.#file = file;
    this.#line = 0;
  }

  take(raw: RawLine): void {
    this.#line++;
    this.#lines++;
    const line = raw.bytes === undefined ? undefined : parseLine(raw.bytes);
    if (!raw.isEnded) this.#isTorn = true;
    if (line === undefined) this.#keepStrange(raw);
    else {
      const strange = this.#strange;
      this.#strange = undefined;
      this.#judge(line, strange);
      this.#sequence = line.sequence;
      this.#first ??= line.sequence;
    }
    this.#before = this.#end?.hash;
    this.#end = { sequence: this.#sequence ?? 0, hash: raw.hash };
    if (line !== undefined) this.#good = this.#end;
    if (raw.hash === this.#options.head) {
      this.#hasHead = true;
      this.#sinceHead = 0;
    } else this.#sinceHead++;
  }

  endFile(remembered: ChainEnd | undefined): void {
    if (this.#strange !== undefined) {
      if (this.#isTorn && this.#strange.lines === 1) {
        this.#error(
          this.#line,
          `the last line is torn: ${this.#strange.bytes} bytes without an end. The server keeps and marks it when it writes again`,
        );
        // A file that was begun after this one goes on from what was whole.
        this.#end = this.#good ?? this.#end;
      } else this.#reportStrange(this.#strange);
      this.#strange = undefined;
    } else if (this.#isTorn) {
      this.#error(this.#line, "the last line lacks its line break; the server marks it when it writes again");
    }
    this.#isTorn = false;
    const last = this.#sequence ?? 0;
    if (remembered !== undefined && remembered.sequence > last) {
      const missing = `${remembered.sequence - last} lines are missing at the end`;
      this.#error(this.#line, `${missing}: the head beside the file is that of ${remembered.sequence}`);
    }
  }

  finish(): AuditSummary {
    const { head } = this.#options;
    if (!this.#hasHead) {
      this.#error(
        this.#line,
        `no line has the remembered head ${head}: lines at the end were removed, or the log was written anew`,
      );
    } else if (head !== undefined && this.#sinceHead > 0 && this.#lines > 0) {
      this.#note(this.#line, `${this.#sinceHead} lines since the remembered head`);
    }
    return {
      lines: this.#lines,
      first: this.#first,
      last: this.#sequence,
      head: this.#good?.hash ?? this.#options.after ?? GENESIS,
      errors: this.#errors,
    };
  }

  #keepStrange({ bytes, sizeBytes }: RawLine): void {
    const strange = this.#strange;
    if (strange === undefined) {
      const hash = createHash("sha256").update(bytes ?? "");
      this.#strange = { firstLine: this.#line, lines: 1, bytes: sizeBytes, hash };
      return;
    }
    strange.lines++;
    strange.bytes += 1 + sizeBytes;
    strange.hash.update("\n").update(bytes ?? "");
  }

  #judge(line: AuditLine, strange: Strange | undefined): void {
    const recovery = line.event === "recovery" ? (line.record["recovery"] as Recovery | null) : undefined;
    const isTold =
      strange !== undefined &&
      recovery?.tornLines === strange.lines &&
      recovery.tornBytes === strange.bytes &&
      recovery.tornHash === strange.hash.digest("hex");
    if (isTold) {
      this.#note(strange.firstLine, `torn, ${strange.bytes} bytes, and marked by line ${this.#line}`);
    } else if (strange !== undefined) this.#reportStrange(strange);
    if (recovery?.unended === true)
      this.#note(this.#line - 1, `lacked its line break, and was marked by line ${this.#line}`);
    if (recovery?.changed === true)
      this.#error(this.#line - 1, "was changed while no server wrote, as the line after it says");
    this.#judgeLink(line, recovery);
  }

  #judgeLink({ sequence, previous }: AuditLine, recovery: Recovery | null | undefined): void {
    const end = this.#end;
    if (end === undefined) {
      if (previous !== this.#options.after)
        this.#error(this.#line, `does not follow ${this.#options.after}: it follows ${previous}`);
      return;
    }
    const last = this.#sequence ?? end.sequence;
    const expected = last + 1;
    const { missing } = recovery ?? {};
    if (missing?.from === expected && missing.to === sequence - 1) {
      this.#error(
        this.#line,
        `lines ${missing.from} to ${missing.to} were gone when a server opened the file`,
      );
    } else if (sequence > expected) {
      this.#error(
        this.#line,
        this.#first === undefined
          ? `the log begins with sequence ${sequence}: give the files before it as well, or its --after`
          : `sequence ${sequence} follows ${last}: lines were removed or moved`,
      );
      return;
    } else if (sequence < expected) {
      this.#error(this.#line, `sequence ${sequence} follows ${last}: a line was inserted, repeated or moved`);
      return;
    }
    if (previous === end.hash) return;
    this.#error(
      this.#line,
      previous === this.#before
        ? `does not follow the line before it, which was inserted or took another's place`
        : `does not follow the line before it: one of the two was changed`,
    );
  }

  #reportStrange({ firstLine, lines }: Strange): void {
    const which = lines === 1 ? "is no line" : `and ${lines - 1} after it are no lines`;
    this.#error(firstLine, `${which} of an audit log (damaged, or longer than any)`);
  }

  #error(line: number, message: string): void {
    this.#errors++;
    this.#options.onFinding({ file: this.#file, line, message: cleanText(message), isError: true });
  }

  #note(line: number, message: string): void {
    this.#options.onFinding({ file: this.#file, line, message: cleanText(message), isError: false });
  }
}
