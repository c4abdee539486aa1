/** What is told to those who look after the server. */
export type EventLog = (entry: {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
  readonly error?: unknown;
}) => void;
