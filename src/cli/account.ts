/** `tokligence account`: create and list accounts. */
import { Command, Option } from "commander";
import type { Account } from "../ports/account-store.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { ACTOR, isoTime, onStores, type StoreFlags, unwrap, withStoreOptions } from "./store-command.ts";

interface CreateFlags extends StoreFlags {
	readonly email: string;
	readonly name: string;
	readonly type: "internal" | "external";
	readonly id?: string;
	readonly tier?: string;
	readonly organisation?: string;
}

export function accountCommand(io: CommandIo = processIo()): Command {
	const create = withStoreOptions(new Command("create"))
		.description("make an account")
		.requiredOption("--email <address>", "address of its owner")
		.requiredOption("--name <name>", "what people call it")
		.addOption(
			new Option("--type <type>", "whose traffic it is").choices(["internal", "external"]).makeOptionMandatory(),
		)
		.option("--id <id>", "id of your choice; else one is made")
		.option("--tier <tier>", "account tier, matched by rules")
		.option("--organisation <name>", "organisation that it shares fairness in")
		.addHelpText(
			"after",
			"\nExample:\n  tokligence account create --email ops@example.com --name Ops --type internal --json",
		)
		.action((flags: CreateFlags) =>
			onStores(flags, io, async (stores) => {
				const account = unwrap(
					await stores.accounts.create(
						{
							email: flags.email,
							name: flags.name,
							accountType: flags.type,
							...(flags.id === undefined ? {} : { id: flags.id }),
							...(flags.tier === undefined ? {} : { accountTier: flags.tier }),
							...(flags.organisation === undefined ? {} : { organisation: flags.organisation }),
						},
						ACTOR,
					),
				);
				io.out(flags.json === true ? JSON.stringify(shapeOf(account)) : `account ${account.id}`);
			}),
		);
	const list = withStoreOptions(new Command("list"))
		.description("show accounts")
		.action((flags: StoreFlags) =>
			onStores(flags, io, async (stores) => {
				const { items, nextCursor } = await stores.accounts.list({}, { limit: 1000 });
				if (flags.json === true) {
					io.out(JSON.stringify({ accounts: items.map(shapeOf), count: items.length, next_cursor: nextCursor }));
				} else {
					for (const account of items)
						io.out(`${account.id}\t${account.accountType}\t${account.status}\t${account.name}`);
				}
			}),
		);
	return new Command("account").description("accounts that tokens belong to").addCommand(create).addCommand(list);
}

function shapeOf(account: Account) {
	return {
		id: account.id,
		email: account.email,
		name: account.name,
		account_type: account.accountType,
		account_tier: account.accountTier ?? null,
		organisation: account.organisation ?? null,
		team: account.team ?? null,
		status: account.status,
		created_at: isoTime(account.createdAt),
	};
}
