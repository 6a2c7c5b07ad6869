// The sandbox's globals, before any of the plugin's code runs. Clock and chance are the same in every call, as for plugins
// in every language: what they say comes from no machine. While the plugin is loaded they are refused, with a reason: the
// build would freeze what they said.

import { log } from "../log.ts";
import { Random } from "../random.ts";

function refuse(what: string, instead: string): never {
  throw new Error(
    `${what} is not there while a plugin is loaded, for the build would freeze it: ask in a handler, or better, use ${instead}`,
  );
}

/** 2000-01-01T00:00:00Z in milliseconds: where the clock of each call begins. */
const BEGINNING = 946_684_800_000;

/** What one call has taken of clock and chance. */
interface Taken {
  /** Readings of the clock; each is a microsecond later. */
  readings: number;
  readonly random: Random;
}

let taken: Taken | undefined;

/** From here on, clock and chance are there, and begin anew. */
export function beginCall(): void {
  taken = { readings: 0, random: new Random("lamphouse", 0) };
}

/** Milliseconds since the call began. */
function elapsed(what: string): number {
  if (taken === undefined) refuse(what, "event.occurredAt");
  return ++taken.readings / 1_000;
}

function random(what: string): Random {
  if (taken === undefined) refuse(what, "event.random()");
  return taken.random;
}

const now = (what: string): number => BEGINNING + Math.floor(elapsed(what));

const RealDate = Date;

/** Date with the clock of the call. */
const PluginDate = new Proxy(RealDate, {
  construct(target, given: unknown[], newTarget) {
    const parts = given.length === 0 ? [now("the time of day (new Date())")] : given;
    return Reflect.construct(target, parts, newTarget) as Date;
  },
  apply() {
    return new RealDate(now("the time of day (Date())")).toString();
  },
});
RealDate.now = () => now("the time of day (Date.now())");
RealDate.prototype.constructor = PluginDate;

function replace(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}

replace("Date", PluginDate);
replace("performance", { now: () => elapsed("performance.now()") });
Math.random = () => random("Math.random()").fraction();
replace("crypto", {
  getRandomValues<T extends ArrayBufferView>(array: T): T {
    const from = random("crypto.getRandomValues()");
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let at = 0; at < bytes.length; at++) bytes[at] = from.below(256);
    return array;
  },
  randomUUID: () => random("crypto.randomUUID()").uuid(),
});
for (const name of ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"]) {
  replace(name, () => {
    throw new Error(`${name}() is not there in a plugin: a call does not wait`);
  });
}
replace("fetch", () => {
  throw new Error("fetch() is not there in a plugin: it has no network");
});
replace("console", { ...log, log: log.info });
