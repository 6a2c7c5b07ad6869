// A stack of the bundle's lines as a stack of the plugin's own source.

/** Of each line of the bundle that is of the plugin's own source: column, source, line, column, and so on. */
export interface SourceTable {
  readonly sources: readonly string[];
  readonly lines: Readonly<Record<number, readonly number[]>>;
}

const FRAME = /^\s*at (?:(.*?) \()?[^()]*?:([0-9]+):([0-9]+)\)?$/;

/** `at project (src/plugin.ts:42:7)`, a line a frame; frames of the SDK are left out. */
export function traceOf(error: unknown, table: SourceTable | undefined): string {
  const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : "";
  const frames: string[] = [];
  for (const line of stack.split("\n")) {
    const [, name, row, column] = FRAME.exec(line) ?? [];
    const place = table && row && column ? placeOf(table, Number(row), Number(column)) : undefined;
    if (place !== undefined) frames.push(name ? `at ${name} (${place})` : `at ${place}`);
  }
  return frames.join("\n");
}

function placeOf(table: SourceTable, line: number, column: number): string | undefined {
  const segments = table.lines[line];
  if (segments === undefined) return undefined;
  let best = 0;
  // Columns count from 1 in a stack and from 0 here.
  while (best + 4 < segments.length && segments[best + 4]! < column) best += 4;
  const [, source, sourceLine, sourceColumn] = segments.slice(best, best + 4);
  return `${table.sources[source ?? 0]}:${sourceLine}:${sourceColumn}`;
}
