/** `tokligence token`: create (shown once), list, revoke, and the hash line of a token file. */
import { Command } from "commander";
import { tokenHash } from "../app/store-access.ts";
import type { TokenRecord } from "../ports/token-store.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { ACTOR, isoTime, onStores, type StoreFlags, unwrap, withStoreOptions } from "./store-command.ts";

interface CreateFlags extends StoreFlags {
	readonly account: string;
	readonly tier: string;
	readonly environment?: string;
	readonly workload?: string;
	readonly name?: string;
}

export function tokenCommand(io: CommandIo = processIo()): Command {
	const create = withStoreOptions(new Command("create"))
		.description("make an API token; it is shown once")
		.requiredOption("--account <id>", "account that it belongs to")
		.requiredOption("--tier <tier>", "internal, external, premium, spot, or a word of your own")
		.option("--environment <name>", "production, staging, dev, …")
		.option("--workload <tag>", "realtime, batch or interactive")
		.option("--name <name>", "what it is for")
		.addHelpText(
			"after",
			"\nExample:\n  tokligence token create --account ops --tier internal --environment production --json",
		)
		.action((flags: CreateFlags) =>
			onStores(flags, io, async (stores) => {
				const { token, record } = unwrap(
					await stores.tokens.create(
						{
							accountId: flags.account,
							priorityTier: flags.tier,
							...(flags.environment === undefined ? {} : { environment: flags.environment }),
							...(flags.workload === undefined ? {} : { workloadTag: flags.workload }),
							...(flags.name === undefined ? {} : { name: flags.name }),
						},
						ACTOR,
					),
				);
				const message = "keep it: it is not shown again";
				io.out(
					flags.json === true
						? JSON.stringify({ token_id: record.id, token, token_prefix: record.tokenPrefix, message })
						: `${token}\n${record.id}: ${message}`,
				);
			}),
		);
	const list = withStoreOptions(new Command("list"))
		.description("show tokens, never their text")
		.option("--account <id>", "only of this account")
		.action((flags: StoreFlags & { readonly account?: string }) =>
			onStores(flags, io, async (stores) => {
				const filter = flags.account === undefined ? {} : { accountId: flags.account };
				const { items, nextCursor } = await stores.tokens.list(filter, { limit: 1000 });
				if (flags.json === true) {
					io.out(JSON.stringify({ tokens: items.map(shapeOf), count: items.length, next_cursor: nextCursor }));
				} else {
					for (const token of items) io.out(`${token.id}\t${token.tokenPrefix}\t${token.accountId}\t${token.status}`);
				}
			}),
		);
	const revoke = withStoreOptions(new Command("revoke"))
		.description("refuse a token from now on")
		.argument("<token-id>")
		.option("--reason <text>", "for the record")
		.action((id: string, flags: StoreFlags & { readonly reason?: string }) =>
			onStores(flags, io, async (stores) => {
				const { record } = unwrap(await stores.tokens.revoke(id, flags.reason, ACTOR));
				io.out(flags.json === true ? JSON.stringify(shapeOf(record)) : `revoked ${record.id}`);
			}),
		);
	const hash = new Command("hash")
		.description("print the line of a token file ([classifier.token] file) for a key read from standard input")
		.requiredOption("--account <id>", "account that it belongs to")
		.requiredOption("--tier <tier>", "tier of its requests")
		.option("--environment <name>", "environment of its requests", "")
		.option("--workload <tag>", "workload of its requests", "")
		.option("--name <name>", "what it is for", "")
		.addHelpText(
			"after",
			'\nExample:\n  printf %s "$KEY" | tokligence token hash --account ops --tier internal >> tokens.csv',
		)
		.action(async (flags: CreateFlags) => {
			let text = "";
			for await (const chunk of process.stdin) text += String(chunk);
			io.out(
				[tokenHash(text.trim()), flags.account, flags.tier, flags.environment, flags.workload, flags.name].join(","),
			);
		});
	return new Command("token")
		.description("API tokens")
		.addCommand(create)
		.addCommand(list)
		.addCommand(revoke)
		.addCommand(hash);
}

function shapeOf(token: TokenRecord) {
	return {
		id: token.id,
		token_prefix: token.tokenPrefix,
		account_id: token.accountId,
		priority_tier: token.priorityTier,
		environment: token.environment ?? null,
		workload_tag: token.workloadTag ?? null,
		name: token.name ?? null,
		description: token.description ?? null,
		quota: { tokens_per_month: token.quotaTokensPerMonth ?? null, tps_limit: token.quotaTpsLimit ?? null },
		total_requests: token.totalRequests,
		last_used_at: isoTime(token.lastUsedAt),
		status: token.status,
		expires_at: isoTime(token.expiresAt),
		revoked_at: isoTime(token.revokedAt),
		revoked_reason: token.revokedReason ?? null,
		created_at: isoTime(token.createdAt),
	};
}
