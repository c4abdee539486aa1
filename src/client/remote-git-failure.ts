/** The other side's Git server went away, broke the protocol, or refused as a whole. A sentence without its end. */
export class RemoteGitFailure extends Error {
  override readonly name = "RemoteGitFailure";
}
