/** Accounts in memory. */
import type { Account, AccountFields, AccountFilter, AccountStore, NewAccount } from "../../ports/account-store.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import { type Patch, refused, type WriteResult, written } from "../../ports/write-result.ts";
import { applyPatch, newId, sameFields } from "../record.ts";
import type { MemoryChange, MemoryState } from "./memory-state.ts";

export class MemoryAccountStore implements AccountStore {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	create(account: NewAccount, actor: string): Promise<WriteResult<Account>> {
		return this.#state.change(actor, (change) => insertAccount(this.#state, change, account));
	}

	async get(id: string): Promise<Account | undefined> {
		return this.#state.accounts.get(id);
	}

	async list(filter: AccountFilter, page: PageRequest): Promise<Page<Account>> {
		const limit = pageLimit(page);
		const after = cursorKeys(page, ["string"])?.[0];
		const found = [...this.#state.accounts.values()]
			.filter(
				(account) =>
					(filter.accountType === undefined || account.accountType === filter.accountType) &&
					(filter.status === undefined || account.status === filter.status) &&
					(filter.organisation === undefined || account.organisation === filter.organisation) &&
					(after === undefined || account.id > after),
			)
			.sort((a, b) => (a.id < b.id ? -1 : 1));
		return toPage(found.slice(0, limit + 1), limit, (account) => [account.id]);
	}

	update(id: string, patch: Patch<AccountFields>, actor: string): Promise<WriteResult<Account>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.accounts.get(id);
			if (before === undefined) return refused("not_found", `account "${id}" does not exist`);
			return written(replaceAccount(this.#state, change, before, applyPatch(before, patch), "account.update"));
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<Account>> {
		return this.#state.change(actor, (change) => deleteAccount(this.#state, change, id));
	}
}

export function insertAccount(state: MemoryState, change: MemoryChange, account: NewAccount): WriteResult<Account> {
	const id = account.id ?? newId("acct");
	if (state.accounts.has(id)) {
		return refused("conflict", `account "${id}" exists already: choose another id or change that account`, "id");
	}
	const created: Account = { status: "active", ...account, id, createdAt: change.at, updatedAt: change.at };
	state.accounts.set(id, created);
	change.audit({ action: "account.create", subject: id, after: created });
	return written(created);
}

export function deleteAccount(state: MemoryState, change: MemoryChange, id: string): WriteResult<Account> {
	const before = state.accounts.get(id);
	if (before === undefined || before.status === "deleted") {
		return refused("not_found", `account "${id}" does not exist or is deleted already`);
	}
	return written(replaceAccount(state, change, before, { ...before, status: "deleted" }, "account.delete"));
}

export function putAccount(
	state: MemoryState,
	change: MemoryChange,
	account: NewAccount & { readonly id: string },
): boolean {
	const before = state.accounts.get(account.id);
	if (before === undefined) return insertAccount(state, change, account).ok;
	const after: Account = { status: "active", ...account, createdAt: before.createdAt, updatedAt: before.updatedAt };
	if (sameFields(before, after)) return false;
	replaceAccount(state, change, before, after, "account.update");
	return true;
}

function replaceAccount(
	state: MemoryState,
	change: MemoryChange,
	before: Account,
	next: Account,
	action: string,
): Account {
	const after: Account = { ...next, updatedAt: change.at };
	state.accounts.set(before.id, after);
	change.audit({ action, subject: before.id, before, after });
	return after;
}
