/** Between the steps of long work on the main thread: what waits in the event loop is done first. */
export function othersTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
