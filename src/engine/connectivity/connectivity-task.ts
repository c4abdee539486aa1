/** The walks of the connectivity check that a worker does when they are too long for the main thread. */
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import type { NewObjectLinks } from "../ingest/new-object-links.js";
import type { LinkList } from "../ingest/object-examiner.js";
import type { MissingObject } from "./find-missing.js";

export interface MarkTask {
  readonly do: "mark";
  /** The quarantine's. */
  readonly objects: ObjectReaderDescriptor;
  readonly links: NewObjectLinks;
  readonly tips: readonly ObjectId[];
  readonly needed: LinkList;
}
/** What was not found. */
export type MarkAnswer = LinkList;

export interface FindMissingTask {
  readonly do: "find missing";
  readonly objects: ObjectReaderDescriptor;
  readonly links: NewObjectLinks;
  readonly tips: readonly ObjectId[];
  readonly unreachable: readonly ObjectId[];
  readonly newShallow: readonly ObjectId[];
}
export type FindMissingAnswer = MissingObject | undefined;

export type ConnectivityTask = MarkTask | FindMissingTask;
