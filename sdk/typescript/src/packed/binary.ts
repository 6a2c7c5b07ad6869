// Bytes as text of one character a byte. An interpreter is slow byte by byte, and quick where one call does a whole
// text: so what is packed is written and read as such text.

declare global {
  interface Uint8Array {
    toBase64?(): string;
  }
  interface Uint8ArrayConstructor {
    fromBase64?(text: string): Uint8Array<ArrayBuffer>;
  }
  function atob(text: string): string;
  function btoa(text: string): string;
  function escape(text: string): string;
  function unescape(text: string): string;
}

const PLAIN = /[^\0-\x7f]/;
const CHUNK = 4_096;

/** Each byte as one character. */
export function toBinary(bytes: Uint8Array): string {
  if (bytes.toBase64 !== undefined) return atob(bytes.toBase64());
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return text;
}

/** Each character as one byte. */
export function fromBinary(text: string): Uint8Array<ArrayBuffer> {
  if (Uint8Array.fromBase64 !== undefined) return Uint8Array.fromBase64(btoa(text));
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** Whether a text, or such bytes, have nothing but ASCII. */
export function isAscii(text: string): boolean {
  return !PLAIN.test(text);
}

/** UTF-8, a byte a character. The text must be well-formed. */
export function toUtf8(text: string): string {
  return PLAIN.test(text) ? unescape(encodeURIComponent(text)) : text;
}

/** The text of UTF-8, a byte a character. */
export function fromUtf8(bytes: string): string {
  return PLAIN.test(bytes) ? decodeURIComponent(escape(bytes)) : bytes;
}
