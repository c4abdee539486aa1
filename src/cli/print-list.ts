/** Lists on standard output: columns for people, JSON for programs. */
export type Row = Readonly<Record<string, string | number | undefined | object>>;

/** @param columns of what people see, by their keys */
export function printList(
  rows: readonly Row[],
  options: { readonly json: boolean; readonly columns: readonly string[] },
): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
    return;
  }
  const lines = rows.map((row) => options.columns.map((column) => textOf(row[column])));
  const widths = options.columns.map((_, i) => Math.max(0, ...lines.map((line) => line[i]?.length ?? 0)));
  for (const line of lines) {
    const cells = line.map((text, i) => text.padEnd(widths[i] ?? 0));
    process.stdout.write(`${cells.join("  ").trimEnd()}\n`);
  }
}

/** What is printed to a person may come from a file: no control characters. */
function textOf(value: Row[string]): string {
  if (value === undefined) return "-";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\0-\x1f\x7f-\x9f]/g, "?");
}

/** What a command has done. */
export function printDone(flags: { readonly json?: boolean }, value: object, text: string): void {
  process.stdout.write(`${flags.json === true ? JSON.stringify(value) : text}\n`);
}

/** ISO, to the second. */
export function timeText(milliseconds: number | undefined): string | undefined {
  return milliseconds === undefined ? undefined : `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}
