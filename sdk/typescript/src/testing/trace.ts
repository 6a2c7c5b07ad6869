/** @internal Frames of the plugin's own source. */
export function nodeTrace(error: unknown): string {
  const stack = error instanceof Error && error.stack !== undefined ? error.stack : "";
  return stack
    .split("\n")
    .filter(
      (line) => /^\s+at /.test(line) && !/node:internal|(?:sdk[\\/]typescript|lamphouse)[\\/]src/.test(line),
    )
    .map((line) => line.trim())
    .join("\n");
}
