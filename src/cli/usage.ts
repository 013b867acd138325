/** `tokligence usage`: what the ledger says: sums by account, or one row per settled request. */
import { Command } from "commander";
import type { LedgerRow } from "../ports/ledger-store.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { isoTime, onStores, type StoreFlags, withStoreOptions } from "./store-command.ts";

const PAGE = 500;

export function usageCommand(io: CommandIo = processIo()): Command {
	return withStoreOptions(new Command("usage"))
		.description("tokens and money by account, or one row per request")
		.option("--requests", "one row per settled request, newest first")
		.option("--account <id>", "only of this account")
		.addHelpText("after", "\nExamples:\n  tokligence usage\n  tokligence usage --requests --json")
		.action((flags: StoreFlags & { readonly requests?: boolean; readonly account?: string }) =>
			onStores(flags, io, async ({ ledger }) => {
				const filter = flags.account === undefined ? {} : { accountId: flags.account };
				if (flags.requests === true) {
					const rows: LedgerRow[] = [];
					let cursor: string | null = null;
					do {
						const page: Awaited<ReturnType<typeof ledger.list>> = await ledger.list(filter, {
							limit: PAGE,
							...(cursor === null ? {} : { cursor }),
						});
						rows.push(...page.items);
						cursor = page.nextCursor;
					} while (cursor !== null);
					if (flags.json === true)
						io.out(JSON.stringify({ requests: rows.map(shapeOf), count: rows.length, next_cursor: null }));
					else
						for (const row of rows)
							io.out(
								`${isoTime(row.settledAt)}\t${row.requestId}\t${row.accountId}\t${row.outcome}\t${row.promptTokens}+${row.completionTokens}`,
							);
					return;
				}
				const sums = await ledger.sum(filter, ["account"]);
				const usage = sums.map((sum) => ({
					account_id: sum.group.account ?? "",
					requests: sum.requests,
					estimated_requests: sum.estimatedRequests,
					prompt_tokens: sum.promptTokens,
					completion_tokens: sum.completionTokens,
					cached_tokens: sum.cachedTokens,
					total_tokens: sum.promptTokens + sum.completionTokens,
					cost_nano_usd: sum.costNanoDollars.toString(),
				}));
				if (flags.json === true) {
					const total = usage.reduce((tokens, sum) => tokens + sum.total_tokens, 0);
					io.out(JSON.stringify({ total_tokens: total, usage, count: usage.length, next_cursor: null }));
				} else {
					for (const sum of usage) io.out(`${sum.account_id}\t${sum.requests} requests\t${sum.total_tokens} tokens`);
				}
			}),
		);
}

function shapeOf(row: LedgerRow) {
	return {
		request_id: row.requestId,
		client_request_id: row.clientRequestId ?? null,
		account_id: row.accountId,
		token_id: row.tokenId ?? null,
		tier: row.tier,
		model: row.model,
		provider: row.provider ?? null,
		queue: row.queue,
		prompt_tokens: row.promptTokens,
		completion_tokens: row.completionTokens,
		cached_tokens: row.cachedTokens,
		usage_source: row.usageSource,
		wait_ms: row.waitMs,
		ttft_ms: row.timeToFirstTokenMs ?? null,
		duration_ms: row.durationMs,
		outcome: row.outcome,
		error_code: row.errorCode ?? null,
		cost_nano_usd: row.costNanoDollars,
		settled_at: isoTime(row.settledAt),
	};
}
