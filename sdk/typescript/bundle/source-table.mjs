// From a source map to the small table that src/guest/trace.ts looks up.

import path from "node:path";

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Of each line of the bundle that is not of the SDK: column, source, line, column of each segment, one after the other. */
export function sourceTable(map, folder, project, sdk) {
  const sources = map.sources.map((source) => path.resolve(folder, source));
  const isOwn = (file) => !file.startsWith(sdk + path.sep) && !file.endsWith("lamphouse-entry.ts");
  const named = [];
  const numbers = sources.map((file) =>
    isOwn(file) ? named.push(path.relative(project, file).split(path.sep).join("/")) - 1 : -1,
  );
  const lines = {};
  let [source, line, column] = [0, 0, 0];
  for (const [row, segments] of map.mappings.split(";").entries()) {
    let from = 0;
    const kept = [];
    for (const segment of segments === "" ? [] : segments.split(",")) {
      const [columns, sourceStep, lineStep, columnStep] = decoded(segment);
      from += columns;
      if (sourceStep === undefined) continue;
      source += sourceStep;
      line += lineStep;
      column += columnStep;
      if (numbers[source] >= 0) kept.push(from, numbers[source], line + 1, column + 1);
    }
    if (kept.length > 0) lines[row + 1] = kept;
  }
  return { sources: named, lines };
}

/** The numbers of a segment: base 64, variable length. */
function decoded(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit);
    value += (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}
