/** Text for a person's terminal: control characters become `?`, so that no message can drive the terminal. */
export function formatControlText(text: string): string {
  return text.replace(/[\0-\x09\x0b-\x1f\x7f-\x9f]/g, "?");
}
