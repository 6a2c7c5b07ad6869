// JSON without loss: whole numbers that a number cannot hold are bigints.

import { Decimal } from "./decimal.ts";

/** JSON text that goes into a json column, or into an event, to the letter. */
export class JsonText {
  /** Throws where the text is not JSON. */
  constructor(readonly text: string) {
    JSON.parse(text);
  }

  toString(): string {
    return this.text;
  }

  /** @internal */
  toJSON(): this {
    sawRaw = true;
    return this;
  }
}

/** Whether a JsonText was met while writing. */
let sawRaw = false;

const SAFE = Number.MAX_SAFE_INTEGER;
const WHOLE = /^-?[0-9]+$/;

/** Parses JSON. Whole numbers beyond 2^53 - 1 in size come as bigints, with all their digits. */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  return isUnsafe(value) ? parseWide(text) : value;
}

/** Whether a number in it may have lost digits. */
function isUnsafe(value: unknown): boolean {
  if (typeof value === "number") return value > SAFE || value < -SAFE;
  if (typeof value !== "object" || value === null) return false;
  const values: unknown[] = Array.isArray(value) ? value : Object.values(value);
  for (let at = 0; at < values.length; at++) {
    const inner = values[at];
    if (typeof inner === "number") {
      if (inner > SAFE || inner < -SAFE) return true;
    } else if (typeof inner === "object" && inner !== null && isUnsafe(inner)) {
      return true;
    }
  }
  return false;
}

/** Numbers that stand in a text, each as text, with the same structure around it. */
function parseWide(text: string): unknown {
  // Numbers outside of texts become texts with a mark, which no other text here has.
  let mark = "#";
  while (text.includes(`"${mark}`)) mark += "#";
  const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*/g, (token) =>
    token.startsWith('"') ? token : `"${mark}${token}"`,
  );
  return JSON.parse(quoted, (_key, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith(mark)) return value;
    const digits = value.slice(mark.length);
    const number = Number(digits);
    return WHOLE.test(digits) && !Number.isSafeInteger(number) ? BigInt(digits) : number;
  });
}

/**
 * Writes JSON: bigints as numbers with all their digits, decimals and timestamps as text, `JsonText` to the letter. What
 * JSON has no form for (undefined at the top, functions, NaN, Infinity) throws.
 */
export function writeJson(value: unknown): string {
  if (value instanceof JsonText) return value.text;
  return writeQuickly(value) ?? writeCarefully(value);
}

/** What the engine writes by itself; undefined where that may not be right. */
function writeQuickly(value: unknown): string | undefined {
  sawRaw = false;
  try {
    const written = JSON.stringify(value) as string | undefined;
    // NaN is written as null.
    return sawRaw || written === undefined || written.includes("null") ? undefined : written;
  } catch (error) {
    // A bigint, or an error that comes again.
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function writeCarefully(value: unknown): string {
  let raws: string[] | undefined;
  let mark = "";
  const written = JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === "number" && !Number.isFinite(inner))
      throw new Error(`${inner} cannot be written as JSON`);
    const raw =
      typeof inner === "bigint" ? String(inner) : inner instanceof JsonText ? inner.text : undefined;
    if (raw === undefined) return inner;
    raws ??= [];
    mark ||= markFor(value);
    return `${mark}${raws.push(raw) - 1}${mark}`;
  }) as string | undefined;
  if (written === undefined) throw new Error(`a value of type ${typeof value} cannot be written as JSON`);
  if (raws === undefined) return written;
  const all = raws;
  return written.replace(
    new RegExp(`"${mark}([0-9]+)${mark}"`, "g"),
    (_text, at: string) => all[Number(at)] ?? "",
  );
}

/** A mark that stands nowhere in the value. */
function markFor(value: unknown): string {
  const plain = JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "bigint" ? "" : inner instanceof JsonText ? inner.text : inner,
  );
  let mark = "#raw#";
  while (plain.includes(mark)) mark += "#";
  return mark;
}

/** A value for a message: as JSON where it can be written so. */
export function inspect(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack ? `${value.name}: ${value.message}` : String(value);
  if (value instanceof Decimal || typeof value === "bigint" || typeof value === "symbol")
    return String(value);
  if (typeof value !== "object" || value === null) return String(value);
  try {
    return writeJson(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
