/** The policy's version, and many changes as one transaction, in memory. */
import type { PolicyChange, PolicyStore } from "../../ports/policy-store.ts";
import { type WriteResult, written } from "../../ports/write-result.ts";
import { inSafeOrder } from "../record.ts";
import { deleteAccount, putAccount } from "./account-store.ts";
import type { MemoryChange, MemoryState } from "./memory-state.ts";
import { deleteQuota, putQuota } from "./quota-store.ts";
import { deleteRule, putRule } from "./rule-store.ts";
import { importToken } from "./token-store.ts";
import { deleteWindow, putWindow } from "./window-store.ts";

export class MemoryPolicyStore implements PolicyStore {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	async version(): Promise<number> {
		return this.#state.version;
	}

	apply(changes: readonly PolicyChange[], actor: string): Promise<WriteResult<number>> {
		return this.#state.change(actor, (change) => {
			let altered = 0;
			for (const wanted of inSafeOrder(changes)) {
				const result = applyChange(this.#state, change, wanted);
				if (!result.ok) return result;
				if (result.value) altered++;
			}
			return written(altered);
		});
	}
}

function applyChange(state: MemoryState, change: MemoryChange, wanted: PolicyChange): WriteResult<boolean> {
	switch (wanted.kind) {
		case "put_account":
			return written(putAccount(state, change, wanted.account));
		case "put_rule":
			return putRule(state, change, wanted.rule);
		case "put_window":
			return putWindow(state, change, wanted.window);
		case "put_quota":
			return putQuota(state, change, wanted.quota);
		case "delete_window":
			return written(deleteWindow(state, change, "name", wanted.name) !== undefined);
		case "delete_quota":
			return written(deleteQuota(state, change, wanted.id).ok);
		case "import_token":
			return importToken(state, change, wanted.sha256, wanted.token);
		case "delete_account":
			return written(deleteAccount(state, change, wanted.id).ok);
		case "delete_rule": {
			const result = deleteRule(state, change, "name", wanted.name);
			if (result.ok) return written(true);
			return result.reason === "not_found" ? written(false) : result;
		}
	}
}
