/**
 * The report of receive-pack as it comes, in pieces that are cut anywhere: lines of their own within the first side-band.
 * What a piece takes does not grow with those before it.
 *
 *   OFFSET  SIZE  MEANING
 *   0       4     length of the line with these, hexadecimal; 0 ends the report
 *   4       n-4   a line
 */
import { GitwharfError } from "../base/errors.js";
import { packetText } from "../protocol/wire/pkt-line.js";
import { parseReportStatus, type ReportStatus } from "../protocol/wire/report-status.js";
import { sanitizeText } from "../protocol/wire/sanitize.js";
import { RemoteGitFailure } from "./remote-git-failure.js";

export interface ReportReader {
  /** Nothing is read behind the end of the report. @returns undefined: it is not whole so far @throws RemoteGitFailure, protocol/bad-line, protocol/bad-request */
  add(piece: Buffer): ReportStatus | undefined;
}

const REPORT_BYTES_MAX = 1024 * 1024;
const HEAD_BYTES = 4;

export function createReportReader(): ReportReader {
  const lines: string[] = [];
  let pieces: Buffer[] = [];
  let bytes = 0;
  /** Before so many are there, nothing can be read. */
  let wanted = HEAD_BYTES;
  let total = 0;
  return {
    add(piece) {
      // A server that has nothing to say shows with an empty one that it is there.
      if (piece.length === 0) return undefined;
      total += piece.length;
      if (total > REPORT_BYTES_MAX) throw new RemoteGitFailure("the other side's report is too long");
      pieces.push(piece);
      bytes += piece.length;
      if (bytes < wanted) return undefined;
      const whole = Buffer.concat(pieces);
      let at = 0;
      for (wanted = HEAD_BYTES; whole.length - at >= wanted; ) {
        const length = lengthAt(whole, at);
        if (length === 0) return parseReportStatus(lines);
        wanted = length;
        if (whole.length - at < length) break;
        lines.push(sanitizeText(packetText(whole.subarray(at + HEAD_BYTES, at + length))));
        at += length;
        wanted = HEAD_BYTES;
      }
      pieces = [whole.subarray(at)];
      bytes = whole.length - at;
      return undefined;
    },
  };
}

function lengthAt(bytes: Buffer, at: number): number {
  const digits = bytes.toString("latin1", at, at + HEAD_BYTES);
  const length = /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : 1;
  if (length === 0 || length >= HEAD_BYTES) return length;
  throw new GitwharfError("protocol/bad-line", `bad line length ${JSON.stringify(digits)} in a report`);
}
