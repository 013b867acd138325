/** The policy's version, and many changes as one transaction. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { PolicyChange, PolicyStore } from "../../ports/policy-store.ts";
import { type WriteResult, written } from "../../ports/write-result.ts";
import { inSafeOrder } from "../record.ts";
import { deleteAccount, findAccount, putAccount } from "./account-store.ts";
import { type PolicyTransaction, policyTransaction } from "./policy-transaction.ts";
import { deleteQuota, putQuota } from "./quota-store.ts";
import { deleteRule, putRule } from "./rule-store.ts";
import type { SqlDatabase } from "./sql-database.ts";
import { importToken } from "./token-store.ts";
import { deleteWindow, putWindow } from "./window-store.ts";

export class SqlPolicyStore implements PolicyStore {
	readonly #database: SqlDatabase;
	readonly #epochNow: () => EpochMillis;

	constructor(database: SqlDatabase, epochNow: () => EpochMillis) {
		this.#database = database;
		this.#epochNow = epochNow;
	}

	async version(): Promise<number> {
		const [row] = await this.#database.read("SELECT version FROM policy_version WHERE id = 1", []);
		return row!["version"] as number;
	}

	apply(changes: readonly PolicyChange[], actor: string): Promise<WriteResult<number>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, async (tx) => {
			let altered = 0;
			for (const change of inSafeOrder(changes)) {
				const result = await applyChange(tx, change);
				if (!result.ok) return result;
				if (result.value) altered++;
			}
			return written(altered);
		});
	}
}

async function applyChange(tx: PolicyTransaction, change: PolicyChange): Promise<WriteResult<boolean>> {
	switch (change.kind) {
		case "put_account":
			return written(await putAccount(tx, change.account));
		case "put_rule":
			return putRule(tx, change.rule);
		case "put_window":
			return putWindow(tx, change.window);
		case "put_quota":
			return putQuota(tx, change.quota);
		case "delete_window":
			return written((await deleteWindow(tx, "name", change.name)) !== undefined);
		case "delete_quota":
			return written((await deleteQuota(tx, change.id)).ok);
		case "import_token":
			return importToken(tx, change.sha256, change.token);
		case "delete_account": {
			const account = await findAccount(tx.session, change.id);
			if (account === undefined || account.status === "deleted") return written(false);
			const result = await deleteAccount(tx, change.id);
			return result.ok ? written(true) : result;
		}
		case "delete_rule": {
			const result = await deleteRule(tx, "name", change.name);
			if (result.ok) return written(true);
			return result.reason === "not_found" ? written(false) : result;
		}
	}
}
