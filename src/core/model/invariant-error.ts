/** Thrown for a bug in this codebase or in the caller of the core, never for anything a user can cause. */
export class InvariantError extends Error {
	override readonly name = "InvariantError";
}
