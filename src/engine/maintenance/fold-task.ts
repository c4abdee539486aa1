/** The parts of a fold that a worker does, one short task each, so that nobody waits long behind them. */
import type { ByteRangeDescriptor } from "../../base/byte-range.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { FoldPlan } from "./fold-plan.js";

export interface PlanFoldTask {
  readonly do: "plan";
  readonly objectFormat: ObjectFormat;
  /** Oldest first. */
  readonly packs: readonly {
    readonly name: string;
    readonly index: SharedArrayBuffer;
    readonly bytes: ByteRangeDescriptor;
  }[];
}

export interface CopyEntriesTask {
  readonly do: "copy";
  readonly plan: FoldPlan;
  readonly from: number;
  readonly to: number;
  /** By number of the plan. */
  readonly sources: readonly (readonly [number, ByteRangeDescriptor])[];
}

export interface IndexFoldTask {
  readonly do: "index";
  readonly plan: FoldPlan;
  /** Of the new pack, hexadecimal. */
  readonly trailer: string;
  /** Indexes of the packs that it takes the place of. */
  readonly folded: readonly SharedArrayBuffer[];
}

export interface IndexFoldAnswer {
  readonly index: SharedArrayBuffer;
  readonly reverseIndex: Uint8Array;
}

export type FoldTask = PlanFoldTask | CopyEntriesTask | IndexFoldTask;
