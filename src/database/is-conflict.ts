/** A row that may be there only once is there already, or two wrote in different orders and one had to give way: try again. */
const CODES: ReadonlySet<unknown> = new Set([
  // PostgreSQL: unique_violation, deadlock_detected
  "23505",
  "40P01",
]);

export function isConflict(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  return CODES.has(code) || (typeof code === "string" && code.startsWith("SQLITE_CONSTRAINT"));
}
