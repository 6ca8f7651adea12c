/** Sizes and counts that bound what anybody may send us. Over them: a typed error, or a truncated record. */
export const LIMITS = {
  /** A workflow definition, as JSON text. */
  definitionBytes: 256 * 1024,
  /** A run's input, as JSON text. */
  inputBytes: 1024 * 1024,
  /** Objects and arrays within each other, in a definition or an input. */
  jsonDepth: 32,
  steps: 100,
  /** A run's output, or a step's: larger ones are replaced by a truncation record. */
  outputBytes: 256 * 1024,
  /** One log message. */
  logMessageBytes: 8 * 1024,
  /** All log messages of one run; later ones are dropped and counted. */
  logBytesPerRun: 4 * 1024 * 1024,
  /** One request body to the gateway. */
  gatewayBodyBytes: 2 * 1024 * 1024,
  /** A response body that a step reads from the far side. */
  responseBytes: 4 * 1024 * 1024,
  /** A run may ask for at most this long. */
  timeoutMs: 24 * 60 * 60 * 1000,
} as const;
