import type { Stored } from "./schema.ts";

/** What a call of a projector needs of the world: the sandbox's imports, or the test harness's tables. */
export interface Host {
  /** Makes packed changes, in order. */
  apply(changes: Uint8Array): void;
  /** Answers packed reads. */
  read(reads: Uint8Array): Uint8Array;
  /** Rows of one page, in key order. */
  find(
    table: number,
    index: number,
    prefix: readonly Stored[],
    after: readonly Stored[] | undefined,
    limit: number,
  ): Stored[][];
}
