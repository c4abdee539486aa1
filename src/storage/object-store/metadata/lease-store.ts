/**
 * Leases of work that one process does for all: folding the packs of a repository, a janitor's pass. Who has one is alone with
 * those that ask for it, for a while. It saves work that would be done twice and decides nothing: what the work changes is
 * decided by the rows that it changes, so that a lease that has run out, or a clock that is wrong, does no harm.
 */
export interface LeaseStore {
  /**
   * Takes it, or keeps it for longer when the owner has it already.
   * @returns the note that was left with it, "" at first; undefined: somebody else has it
   */
  takeLease(lease: Lease, forMs: number): Promise<{ readonly note: string } | undefined>;
  /** Gives it up; nothing happens when somebody else has it by now. */
  releaseLease(lease: Lease, after?: LeaseRest): Promise<void>;
  /** Removes those that ran out so long ago. @returns how many */
  forgetLeases(olderThanMs: number): Promise<number>;
}

export interface Lease {
  readonly name: string;
  /** Drawn at random by who takes it. */
  readonly owner: string;
}

export interface LeaseRest {
  /** Nobody takes it for so long: the work was done a moment ago. */
  readonly restMs: number;
  /** For who takes it next: how far the work has come. */
  readonly note: string;
}
