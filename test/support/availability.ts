/** Something that a test needs and that this machine may not have. */
export type Availability<T> = { readonly value: T } | { readonly missing: string };
