/** Active tokens on local disk: what answers when no store does. Hashes only, never a token's text. */
import type { EpochMillis } from "../core/model/units.ts";
import type { TokenIdentity } from "./token-reader.ts";

export interface TokenSnapshot {
	/** Undefined when the snapshot does not know the token, or when there is no snapshot. */
	find(hash: string): Promise<TokenIdentity | undefined>;
	/** Replaces the snapshot atomically. */
	write(tokens: readonly TokenIdentity[]): Promise<void>;
	/** Undefined before the first one was read or written. */
	takenAt(): EpochMillis | undefined;
	size(): number;
}
