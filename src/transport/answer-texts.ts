/** Where an application's people are used to other words and statuses than ours. What is not told here is told as always. */
export interface AnswerTexts {
  /** Of `WWW-Authenticate`. */
  readonly realm: string;
  /** undefined: as always. Over SSH the status is not told. */
  describe(
    error: unknown,
    about: { readonly transport: "http" | "ssh" },
  ): { readonly status: number; readonly text: string } | undefined;
  /** For who asks for a shell. */
  greeting(user: string | undefined): string;
}
