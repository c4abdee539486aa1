/** A build that did not succeed: what was pushed is at fault, or somebody ended it. What the server is at fault for is thrown as ever. */
export class BuildFailure extends Error {
  /** A sentence without its end, for the pusher: `bin/compile exited with status 1`. */
  readonly reason: string;

  /** @param options.cause for the log: the pusher does not see it */
  constructor(reason: string, options: { readonly cause?: unknown } = {}) {
    super(reason, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BuildFailure";
    this.reason = reason;
  }
}
