// Whether a text is JSON that every database here keeps.

/** Deepest nesting of a JSON value in a row. */
const DEPTH_MAX = 128;
/** Longest number, and largest exponent: more than any use, less than where PostgreSQL's `numeric` ends. */
const NUMBER_MAX = 10_000;

const TOKEN = /"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[[\]{}]/g;

/**
 * Says why a text is not JSON that PostgreSQL's `jsonb` takes, nested at most 128 deep; undefined where it is. What may
 * be wrong is looked for by calls that are quick, and only then token by token.
 */
export function jsonError(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const isShallow = text.split("[").length + text.split("{").length - 2 <= DEPTH_MAX;
  const mayBeLong = text.length > NUMBER_MAX || /[eE][+-]?[0-9]{5}/.test(text);
  const mayBeHalf = text.includes("\\u") || /[\ud800-\udfff]/.test(text);
  return isShallow && !mayBeLong && !mayBeHalf ? undefined : tokenError(text);
}

function tokenError(text: string): string | undefined {
  let depth = 0;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "[" || token === "{") {
      depth += 1;
      if (depth > DEPTH_MAX) return `nested more than ${DEPTH_MAX} deep`;
    } else if (token === "]" || token === "}") {
      depth -= 1;
    } else if (token.startsWith('"')) {
      const value = JSON.parse(token) as string;
      if (value.includes("\0")) return "U+0000 in a text, which databases do not keep";
      if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(value)) {
        return "a lone surrogate in a text";
      }
    } else {
      const exponent = /[eE][+-]?([0-9]+)$/.exec(token)?.[1] ?? "0";
      if (token.length > NUMBER_MAX || Number(exponent) > NUMBER_MAX) {
        return `a number of more than ${NUMBER_MAX} digits`;
      }
    }
  }
  return undefined;
}
