/** What an author can mend: printed without a stack. */
export class Fault extends Error {
  constructor(message, code = 1) {
    super(message);
    this.code = code;
  }
}

/** An error for a person. */
export function printed(error) {
  return error instanceof Fault ? `error: ${error.message}` : (error?.stack ?? String(error));
}
