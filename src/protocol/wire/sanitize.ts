/**
 * Text for a person's terminal: control characters other than newline, carriage return and tab become `?`, so that
 * no message can drive the terminal. `remote: ` is never added: the client does that.
 */
export function sanitizeText(text: string): string {
  return text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g, "?");
}

/** ECMA-48, 8.3.117 (SGR): colours and weight, and nothing else. */
const COLOUR = /\x1b\[[0-9;:]{0,32}m/g;

/** The same, with colours. For a terminal that is known to show them. */
export function sanitizeAllButColours(text: string): string {
  // Between two colours there is none.
  const between = text.split(COLOUR).map(sanitizeText);
  const colours = text.match(COLOUR) ?? [];
  return between.map((one, i) => one + (colours[i] ?? "")).join("");
}

/** The same, with colours left out. */
export function sanitizeWithoutColours(text: string): string {
  return sanitizeText(text.replace(COLOUR, ""));
}
