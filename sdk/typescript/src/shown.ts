/** A text, cut and without control characters, fit for a message. */
export function shown(text: string, charsMax = 40): string {
  const chars = Array.from(text.length > 4 * charsMax ? text.slice(0, 4 * charsMax) : text);
  const cut = chars.length > charsMax;
  return (
    chars
      .slice(0, charsMax)
      .join("")
      .replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd") + (cut ? "…" : "")
  );
}

/** The bytes of a text in UTF-8. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) continue;
    // Each half of a pair counts two of its four bytes.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}
