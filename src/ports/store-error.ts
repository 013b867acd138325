/**
 * A store that cannot do its work for a reason outside this program. Thrown (promises reject) by every store, whatever its
 * technology, so that callers tell "try again" from "tell the operator" without knowing SQLite, PostgreSQL or Redis.
 */
export const STORE_ERROR_KINDS = [
	/** Another process holds it; trying again helps. */
	"locked",
	/** The file or the server accepts no writes. */
	"read_only",
	/** No space left. */
	"full",
	/** The content is damaged: restore a backup. */
	"corrupt",
	/** Written by a newer version of this program. */
	"newer_schema",
	/** Not there, not reachable, input/output error, or it did not answer in time. */
	"unavailable",
] as const;

export type StoreErrorKind = (typeof STORE_ERROR_KINDS)[number];

export class StoreError extends Error {
	override readonly name = "StoreError";
	readonly kind: StoreErrorKind;

	constructor(kind: StoreErrorKind, message: string, options?: ErrorOptions) {
		super(message, options);
		this.kind = kind;
	}
}
