/**
 * Advertisements and answers to ls-refs as they go out, kept by everything that they depend on: the repository, the
 * state of its refs, what of them is visible, what was asked. Bounded in bytes, shared by the process.
 */
import { LRUCache } from "lru-cache";
import { cacheOfProcess } from "../../base/process-caches.js";
import type { MaybePromise } from "../../base/maybe-promise.js";

const BYTES_MAX = 64 * 1024 * 1024;
const ENTRY_BYTES_MAX = 16 * 1024 * 1024;
/** What was asked may be as long as a request: such a reply is not asked for twice. */
const KEY_CHARACTERS_MAX = 16 * 1024;

const replies = cacheOfProcess(
  new LRUCache<string, Buffer>({
    maxSize: BYTES_MAX,
    maxEntrySize: ENTRY_BYTES_MAX,
    sizeCalculation: (reply, key) => reply.length + key.length * 2 + 256,
  }),
);

/** @param render called when the reply is not there; what it gives is not changed afterwards by anyone */
export function renderedReply(key: string, render: () => MaybePromise<Buffer>): MaybePromise<Buffer> {
  const ready = replies.get(key);
  if (ready !== undefined) return ready;
  const keep = (reply: Buffer): Buffer => {
    if (key.length <= KEY_CHARACTERS_MAX) replies.set(key, reply);
    return reply;
  };
  const rendered = render();
  return rendered instanceof Promise ? rendered.then(keep) : keep(rendered);
}
