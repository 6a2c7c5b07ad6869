// What plugins may use besides the language itself: https://developer.mozilla.org/docs/Web/API/console goes to the host's
// log. There is no clock, no randomness, no timer, no file and no network.

interface Console {
  log(...parts: unknown[]): void;
  trace(...parts: unknown[]): void;
  debug(...parts: unknown[]): void;
  info(...parts: unknown[]): void;
  warn(...parts: unknown[]): void;
  error(...parts: unknown[]): void;
}
declare var console: Console;
