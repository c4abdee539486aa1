/** Why an application's answer cannot be used. The messages are for the operator. */

/** No usable answer. */
export class RemoteFailure extends Error {
  override readonly name: string = "RemoteFailure";
}

/** The application is not there, or says that it cannot now. */
export class RemoteAway extends RemoteFailure {
  override readonly name = "RemoteAway";
}
