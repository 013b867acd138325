/** `/v1/admin/accounts`: who is billed and scheduled for. */
import { z } from "zod";
import {
	ACCOUNT_STATUSES,
	ACCOUNT_TYPES,
	type Account,
	type AccountFields,
	type NewAccount,
} from "../../ports/account-store.ts";
import type { Patch } from "../../ports/write-result.ts";
import { fromStore, refuse } from "./admin-error.ts";
import { email, id, name, shownTime, word } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { given, instant, listBody } from "./wire.ts";

const accountType = z.enum(ACCOUNT_TYPES);
const status = z.enum(ACCOUNT_STATUSES);
const optional = {
	account_tier: word.nullish(),
	organisation: name.nullish(),
	team: name.nullish(),
	metadata: z.record(z.string(), z.unknown()).nullish(),
};

export const newAccount = z.strictObject({
	id: id.nullish().describe("a free string; made when absent"),
	email,
	name,
	account_type: accountType,
	status: status.nullish(),
	...optional,
});

const accountPatch = z.strictObject({
	email: email.optional(),
	name: name.optional(),
	account_type: accountType.optional(),
	status: status.optional(),
	...optional,
});

const shownAccount = z.object({
	id: z.string(),
	email: z.string(),
	name: z.string(),
	account_type: accountType,
	account_tier: z.string().nullable(),
	organisation: z.string().nullable(),
	team: z.string().nullable(),
	status,
	metadata: z.record(z.string(), z.unknown()),
	created_at: shownTime,
	updated_at: shownTime,
});

const accountParams = z.object({ account_id: id });

export function showAccount(account: Account): z.infer<typeof shownAccount> {
	return {
		id: account.id,
		email: account.email,
		name: account.name,
		account_type: account.accountType,
		account_tier: account.accountTier ?? null,
		organisation: account.organisation ?? null,
		team: account.team ?? null,
		status: account.status,
		metadata: { ...account.metadata },
		created_at: instant(account.createdAt),
		updated_at: instant(account.updatedAt),
	};
}

function fieldsOf(body: z.infer<typeof accountPatch>): Patch<AccountFields> {
	return {
		email: body.email,
		name: body.name,
		accountType: body.account_type,
		accountTier: body.account_tier,
		organisation: body.organisation,
		team: body.team,
		status: body.status,
		metadata: body.metadata,
	};
}

export function accountOf(body: z.infer<typeof newAccount>): NewAccount {
	const { id: wantedId, status: wantedStatus, ...rest } = body;
	return given({ ...fieldsOf({ ...rest, ...given({ status: wantedStatus }) }), id: wantedId }) as NewAccount;
}

export const accountOperations: readonly Operation[] = [
	operation(
		{
			method: "POST",
			path: "/accounts",
			summary: "Create an account",
			body: newAccount,
			status: 201,
			answer: shownAccount,
		},
		async (context, { body, actor }) => {
			const result = await context.stores.accounts.create(accountOf(body), actor);
			if (!result.ok) return fromStore(result);
			await context.policyChanged();
			return answer(showAccount(result.value));
		},
	),
	operation(
		{
			method: "GET",
			path: "/accounts",
			summary: "List accounts, in order of id",
			query: z.strictObject({
				account_type: accountType.optional(),
				status: status.optional(),
				organisation: name.optional(),
				...pageQuery,
			}),
			answer: listAnswer("accounts", shownAccount),
		},
		async (context, { query }) => {
			const filter = given({
				accountType: query.account_type,
				status: query.status,
				organisation: query.organisation,
			});
			return answer(listBody("accounts", await context.stores.accounts.list(filter, pageOf(query)), showAccount));
		},
	),
	operation(
		{
			method: "GET",
			path: "/accounts/{account_id}",
			summary: "Show an account",
			params: accountParams,
			answer: shownAccount,
		},
		async (context, { params }) => {
			const account = await context.stores.accounts.get(params.account_id);
			if (account === undefined) return refuse("not_found", `account "${params.account_id}" does not exist`);
			return answer(showAccount(account));
		},
	),
	operation(
		{
			method: "PATCH",
			path: "/accounts/{account_id}",
			summary: "Change fields of an account; null clears one",
			params: accountParams,
			body: accountPatch,
			answer: shownAccount,
		},
		async (context, { params, body, actor }) => {
			const result = await context.stores.accounts.update(params.account_id, fieldsOf(body), actor);
			if (!result.ok) return fromStore(result);
			context.tokensChanged();
			await context.policyChanged();
			return answer(showAccount(result.value));
		},
	),
	operation(
		{
			method: "DELETE",
			path: "/accounts/{account_id}",
			summary: "Delete an account: its tokens are refused, its ledger rows stay",
			params: accountParams,
			answer: shownAccount,
		},
		async (context, { params, actor }) => {
			const result = await context.stores.accounts.delete(params.account_id, actor);
			if (!result.ok) return fromStore(result);
			context.tokensChanged();
			await context.policyChanged();
			return answer(showAccount(result.value));
		},
	),
];
