/** A push that is not taken, in the words for the person. Not an error of ours: it is told with HTTP 200, as a report. */
import type { Refusal } from "./guard.js";

export class Refused extends Error implements Refusal {
  override readonly name = "Refused";
  readonly reason: string;
  readonly lines: readonly string[];
  /** The pack itself is at fault: `unpack` says so. */
  readonly isOfPack: boolean;

  constructor({ reason, lines }: Refusal, isOfPack = false) {
    super(reason);
    this.reason = reason;
    this.lines = lines;
    this.isOfPack = isOfPack;
  }
}

export function refuse(reason: string, ...lines: readonly string[]): Refused {
  return new Refused({ reason, lines });
}

export function refusePack(reason: string, ...lines: readonly string[]): Refused {
  return new Refused({ reason, lines }, true);
}
