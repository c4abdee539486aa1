/**
 * Text for a person's terminal: control characters other than newline, carriage return and tab become `?`, so that
 * no message can drive the terminal. `remote: ` is never added: the client does that.
 */
export function sanitizeText(text: string): string {
  return text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g, "?");
}
