/**
 * Policy as a whole: its version, by which a gateway notices changes made elsewhere, and many changes as one transaction
 * (`tokligence apply`).
 */
import type { NewAccount } from "./account-store.ts";
import type { NewQuota } from "./quota-store.ts";
import type { NewRule } from "./rule-store.ts";
import type { NewToken } from "./token-store.ts";
import type { NewWindow } from "./window-store.ts";
import type { WriteResult } from "./write-result.ts";

export type PolicyChange =
	/** Creates the account or brings it to exactly these fields. */
	| { readonly kind: "put_account"; readonly account: NewAccount & { readonly id: string } }
	| { readonly kind: "delete_account"; readonly id: string }
	/** Creates the rule or brings the one of the same name to exactly these fields. */
	| { readonly kind: "put_rule"; readonly rule: NewRule }
	| { readonly kind: "delete_rule"; readonly name: string }
	/** The same for the time window of that name. */
	| { readonly kind: "put_window"; readonly window: NewWindow }
	| { readonly kind: "delete_window"; readonly name: string }
	/** The same for the quota of that id; what it limits stays what it is. */
	| { readonly kind: "put_quota"; readonly quota: NewQuota & { readonly id: string } }
	| { readonly kind: "delete_quota"; readonly id: string }
	/** Takes over a key by its SHA-256 (64 lower-case hex digits); a known one is left as it is, revoked or not. */
	| { readonly kind: "import_token"; readonly sha256: string; readonly token: NewToken };

export interface PolicyStore {
	/** Rises with every change of accounts, tokens and rules, in the order in which they became visible. */
	version(): Promise<number>;
	/**
	 * All or nothing, idempotent, in whatever order the changes come; answers how many altered something. Refuses (`conflict`) to leave no
	 * catch-all rule, and (`not_found`) a token or a quota whose account is neither there nor among the changes.
	 */
	apply(changes: readonly PolicyChange[], actor: string): Promise<WriteResult<number>>;
}
