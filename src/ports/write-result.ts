/** The outcome of a write to a policy store. What a caller can cause is a value; a broken store is a `StoreError`. */
export type WriteResult<T> = { readonly ok: true; readonly value: T } | WriteRefusal;

export interface WriteRefusal {
	readonly ok: false;
	readonly reason: "not_found" | "conflict";
	/** The field at fault, in camelCase; absent when it is the thing itself. */
	readonly field?: string;
	/** Names the thing, its value and what is allowed. */
	readonly message: string;
}

export function written<T>(value: T): WriteResult<T> {
	return { ok: true, value };
}

export function refused(reason: WriteRefusal["reason"], message: string, field?: string): WriteRefusal {
	return { ok: false, reason, message, ...(field === undefined ? {} : { field }) };
}

/** A change to some fields: absent leaves a field as it is, `null` clears it. */
export type Patch<T> = { readonly [K in keyof T]?: T[K] | null | undefined };
