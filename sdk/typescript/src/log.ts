// Lines for the host's log. They are shown with the projection's status, and are capped for each call.

import { inspect } from "./json.ts";

/** How much a line matters. */
export type Level = "trace" | "debug" | "info" | "warn" | "error";

let sink: (level: Level, message: string) => void = () => {};

/** @internal Says where lines go. */
export function setSink(to: (level: Level, message: string) => void): void {
  sink = to;
}

function line(level: Level): (...parts: unknown[]) => void {
  return (...parts) => sink(level, parts.map(inspect).join(" "));
}

/** Writes lines to the host's log; values are joined by blanks. `console.log` and its like do the same. */
export const log = {
  /** For following every step. */
  trace: line("trace"),
  /** For finding mistakes. */
  debug: line("debug"),
  /** Worth knowing. */
  info: line("info"),
  /** Looks wrong. */
  warn: line("warn"),
  /** Is wrong. */
  error: line("error"),
};
