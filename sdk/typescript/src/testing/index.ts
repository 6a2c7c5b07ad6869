/**
 * Tests of a plugin on the developer's machine: given events, then rows; given an event, then today's events. No Wasm, no
 * database, no host.
 *
 * @module
 */

export { CallFailed } from "../run.ts";
export { eventOfLine, type TestEvent } from "./events.ts";
export { Harness, type LogLine } from "./harness.ts";
export { type Expected, Lifted, type TodayEvent, UpcasterHarness } from "./upcaster-harness.ts";
