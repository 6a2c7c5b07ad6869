// The sandbox's globals, before any of the plugin's code runs. What would differ from run to run is refused with a
// reason: the engine would stop without one, or, while the plugin is built, quietly freeze what it was then.

import { log } from "../log.ts";

function refuse(what: string, instead: string): never {
  throw new Error(
    `${what} is not there in a plugin, for the same log must give the same rows: use ${instead}`,
  );
}

const CLOCK = "event.occurredAt";

const RealDate = Date;

/** Date without a clock. */
const PluginDate = new Proxy(RealDate, {
  construct(target, given: unknown[], newTarget) {
    if (given.length === 0) refuse("the time of day (new Date())", CLOCK);
    return Reflect.construct(target, given, newTarget) as Date;
  },
  apply() {
    return refuse("the time of day (Date())", CLOCK);
  },
});
RealDate.now = () => refuse("the time of day (Date.now())", CLOCK);
RealDate.prototype.constructor = PluginDate;

function replace(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}

replace("Date", PluginDate);
replace("performance", { now: () => refuse("performance.now()", CLOCK) });
Math.random = () => refuse("Math.random()", "event.random()");
replace("crypto", {
  getRandomValues: () => refuse("crypto.getRandomValues()", "event.random()"),
  randomUUID: () => refuse("crypto.randomUUID()", "event.random().uuid()"),
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
