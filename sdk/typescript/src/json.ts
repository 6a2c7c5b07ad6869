// JSON without loss: whole numbers that a number cannot hold are bigints.

/** JSON text that goes into a json column, or into an event, to the letter. */
export class JsonText {
  /** Throws where the text is not JSON. */
  constructor(readonly text: string) {
    JSON.parse(text);
  }

  toString(): string {
    return this.text;
  }
}

const SAFE = Number.MAX_SAFE_INTEGER;
const WHOLE = /^-?[0-9]+$/;
/** Deeper than any JSON that a log or a row takes; what is in a circle gets there too. */
const DEPTH_MAX = 200;

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

/** Parses JSON whose numbers are made texts first, which a mark tells from the texts that were there. */
function parseWide(text: string): unknown {
  const mark = unusedMark(text);
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

/** A character that no text in this JSON begins with, escaped or not. */
function unusedMark(json: string): string {
  const escapes = json.toLowerCase();
  for (let code = "α".charCodeAt(0); ; code++) {
    const mark = String.fromCharCode(code);
    if (!json.includes(mark) && !escapes.includes(`\\u${code.toString(16).padStart(4, "0")}`)) return mark;
  }
}

/**
 * Writes JSON as `JSON.stringify` does, but bigints as numbers with all their digits, `JsonText` to the letter, and no NaN
 * or Infinity as null: those throw.
 */
export function writeJson(value: unknown): string {
  const written = write(value, 0);
  if (written === undefined) throw new Error(`a value of type ${typeof value} cannot be written as JSON`);
  return written;
}

function write(value: unknown, depth: number): string | undefined {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      if (Number.isFinite(value)) return String(value);
      throw new Error(`${value} cannot be written as JSON`);
    case "bigint":
    case "boolean":
      return String(value);
    case "object":
      return value === null ? "null" : writeObject(value, depth + 1);
    default:
      return undefined;
  }
}

function writeObject(value: object, depth: number): string | undefined {
  if (value instanceof JsonText) return value.text;
  if (depth > DEPTH_MAX)
    throw new Error(`JSON nested more than ${DEPTH_MAX} deep, or in a circle, cannot be written`);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return write((value as { toJSON(): unknown }).toJSON(), depth);
  }
  if (Array.isArray(value)) return `[${value.map((inner) => write(inner, depth) ?? "null").join(",")}]`;
  const fields: string[] = [];
  for (const [name, inner] of Object.entries(value)) {
    const written = write(inner, depth);
    if (written !== undefined) fields.push(`${JSON.stringify(name)}:${written}`);
  }
  return `{${fields.join(",")}}`;
}

/** A value for a message: as JSON where it can be written so. */
export function inspect(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value !== "object" || value === null) return String(value);
  try {
    // A text as it stands, which is how decimals and moments are written.
    const written = writeJson(value);
    return written.startsWith('"') ? (JSON.parse(written) as string) : written;
  } catch {
    return Object.prototype.toString.call(value);
  }
}
