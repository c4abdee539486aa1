/** A failure in the pack phase: the client reads side-band and is told on band 3. */
export class PackPhaseFailure extends Error {
  constructor(cause: unknown) {
    super("sending the pack failed", { cause });
    this.name = "PackPhaseFailure";
  }
}
