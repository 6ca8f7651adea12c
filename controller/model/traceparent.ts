import { z } from 'zod';

/** A W3C trace context as its header is written (https://www.w3.org/TR/trace-context/#traceparent-header). */
export const traceparentSchema = z
  .string()
  .regex(
    /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/,
    'must be a W3C traceparent: 00-<32 hexadecimal digits>-<16>-<2>, in lower case, neither id all zeros',
  );
