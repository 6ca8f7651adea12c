/** Where any BullMQ producer may add runs; intake checks them. */
export const INTAKE_QUEUE = 'workflow_runs';
/** What could not be processed, with why. */
export const DEAD_LETTER_QUEUE = 'dlq';
