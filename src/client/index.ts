/**
 * `gitwharf/client`: a Git client in TypeScript, for repositories on other servers. It speaks Smart HTTP in protocol v2, v1
 * and v0, calls no `git`, streams packs both ways and takes nothing without a bound.
 *
 *     import { openRemote } from "gitwharf/client";
 *
 *     const remote = openRemote("https://example.com/app.git");
 *     const { refs, head } = await remote.listRefs({ prefixes: ["refs/heads/"] });
 *     await remote.fetch({ into: repository, wants: refs.map(({ oid }) => oid), depth: 1 });
 *     remote.close();
 *
 * Repositories of ours come from a store: `createDiskRepositoryStore` and the others of `gitwharf`.
 */
export { openPassage } from "./passage.js";
export type { Passage, PassageOptions, PassedAnswer, PassedQuestion } from "./passage.js";
export { openRemote } from "./remote-repository.js";
export type {
  FetchPackRequest,
  ListRefsOptions,
  RemoteOptions,
  RemoteRepository,
} from "./remote-repository.js";
export type { FetchRequest, FetchResult } from "./fetch-into.js";
export type { FetchWishes, ReceiveRequest, ReceiveResult } from "./receive-into.js";
export type { HaveSource } from "./have-source.js";
export { createHaveSource } from "./have-source.js";
export type { RemoteCredentials } from "./http-transport.js";
export type { BasicCredentials } from "./remote-url.js";
export type { PackAnswer } from "./pack-answer.js";
export type { PackRequest, ShallowWish } from "./pack-request.js";
export type {
  PushedUpdate,
  PushReport,
  PushRequest,
  PushSource,
  PushUpdate,
} from "./push-to.js";
export type { RemoteHead, RemoteRef, RemoteRefs } from "./remote-refs.js";
export type { ListedPack } from "../engine/plan-objects.js";
export type { ReportedSubstitute } from "../protocol/wire/report-status.js";
export { GitwharfError, isGitwharfError } from "../base/errors.js";
