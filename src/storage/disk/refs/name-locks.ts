/**
 * Turns of transactions within this process. Lock files alone would do, but who finds one waits by trying again, and
 * gives up after 100 ms; here each waits for its turn.
 */

/** By what is held: the promise that it is given back. All stores of one directory share the table. */
const held = new Map<string, Promise<void>>();

/**
 * @param keys in an order that all callers share: so nobody waits in a circle
 * @returns gives all back
 */
export async function takeTurns(keys: readonly string[]): Promise<() => void> {
  let giveBack = (): void => {};
  const returned = new Promise<void>((resolve) => {
    giveBack = resolve;
  });
  for (const key of keys) {
    for (let other = held.get(key); other !== undefined; other = held.get(key)) await other;
    held.set(key, returned);
  }
  return () => {
    for (const key of keys) held.delete(key);
    giveBack();
  };
}
