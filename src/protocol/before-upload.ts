/** Asks the application before a pack or an archive goes out: with a time limit, and failing closed. */
import { GitwharfError } from "../base/errors.js";
import type { PushHandlers, Upload } from "../engine/push.js";
import type { ObjectId } from "../object/object-id.js";
import { withRequestId } from "./service.js";

/** A longer timer would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export interface UploadQuestion {
  readonly handlers: readonly PushHandlers[];
  readonly upload: Omit<Upload, "wants">;
  /** For handlers that do not say so themselves. */
  readonly timeoutMs: number;
  readonly onHandlerError: (handler: string, error: unknown) => void;
}

/** @throws access/denied when somebody is asked, and refuses */
export type BeforeUpload = (wants: Iterable<ObjectId>) => Promise<void>;

/** undefined: there is nobody to ask. */
export function createBeforeUpload(question: UploadQuestion): BeforeUpload | undefined {
  const { upload, onHandlerError } = question;
  const handlers = question.handlers.filter(({ preUpload }) => preUpload !== undefined);
  if (handlers.length === 0) return undefined;
  return async (wants) => {
    const asked = [...wants];
    for (const one of handlers) {
      let refusal: string | undefined;
      try {
        refusal = await askInTime(one, { ...upload, wants: asked }, one.timeoutMs ?? question.timeoutMs);
      } catch (error) {
        onHandlerError("preUpload", error);
        refusal = withRequestId("pre-upload hook declined", upload.requestId);
      }
      if (refusal !== undefined) throw new GitwharfError("access/denied", refusal);
    }
  };
}

async function askInTime(
  handlers: PushHandlers,
  upload: Upload,
  limitMs: number,
): Promise<string | undefined> {
  const own = new AbortController();
  const onAbort = (): void => own.abort(upload.signal.reason);
  if (upload.signal.aborted) onAbort();
  else upload.signal.addEventListener("abort", onAbort, { once: true });
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      const giveUp = (): void => {
        const error = new Error(`it took longer than ${limitMs / 1000} seconds`);
        own.abort(error);
        reject(error);
      };
      if (limitMs <= TIMER_MS_MAX) timer = setTimeout(giveUp, limitMs);
    });
    const answer = await Promise.race([
      Promise.resolve(handlers.preUpload?.({ ...upload, signal: own.signal })),
      late,
    ]);
    if (answer === undefined) return undefined;
    return typeof answer === "string" ? answer : "pre-upload hook declined";
  } finally {
    clearTimeout(timer);
    upload.signal.removeEventListener("abort", onAbort);
  }
}
