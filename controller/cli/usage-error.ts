/** The command line itself is wrong; the message says what, and where the help is. */
export class UsageError extends Error {}
