/** Schemas of the fields that several operations share. Limits are of the wire, not of a store. */
import { z } from "zod";

/** No control characters: ids and names stand in logs and terminals. */
const PRINTABLE = /^[^\p{Cc}\p{Zl}\p{Zp}]*$/u;

const printable = (max: number) => z.string().min(1).max(max).regex(PRINTABLE, "no control characters");

export const id = printable(128);
export const name = printable(200);
export const text = z.string().max(2000);
export const email = z
	.string()
	.max(254)
	.regex(/^[^\s@]+@[^\s@]+$/, "an address such as ops@example.com");
/** Tiers, environments, workloads, tags. */
export const word = z
	.string()
	.regex(/^[a-z0-9][a-z0-9_.-]{0,63}$/, "a lower-case word of a-z 0-9 _ . - (at most 64 characters)");

export const positive = z.number().positive();
export const positiveInteger = z.number().int().min(1);
export const level = z.number().int().min(0).max(99);

const DATE = /^\d{4}-\d{2}-\d{2}$/;
const DATE_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

/** A date is its first instant in UTC. */
export const time = z
	.string()
	.refine((value) => (DATE.test(value) || DATE_TIME.test(value)) && !Number.isNaN(Date.parse(value)), {
		error: "a date such as 2027-01-31 or an instant such as 2027-01-31T12:00:00Z",
	})
	.meta({ format: "date-time" });

/** What answers carry. */
export const shownTime = z.string().meta({ format: "date-time" });
export const message = z.string().describe("a sentence for people");
