const NS_PER_MS = 1e6;

/**
 * @returns milliseconds of the clock that all processes of this machine share (CLOCK_MONOTONIC on Linux): times of
 *   different processes may be compared, and no correction of the wall clock falls in between.
 */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / NS_PER_MS;
