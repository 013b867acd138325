/**
 * What commands that manage a data folder share: their options, finding the running gateway or opening the store, and how answers and
 * failures are shown.
 */
import { userInfo } from "node:os";
import type { Command } from "commander";
import { readAdminToken, readAdminUrl } from "../app/admin-files.ts";
import { lockHolder } from "../app/data-folder-lock.ts";
import { readTls } from "../app/tls.ts";
import { formatProblem } from "../config/problem.ts";
import { StoreError } from "../ports/store-error.ts";
import {
	AdminCallError,
	type AdminClient,
	callJson,
	httpAdminClient,
	queryOf,
	remoteAdminClient,
} from "./admin-client.ts";
import {
	type CommandIo,
	type ConfigOptions,
	EXIT_CONFIG,
	EXIT_FAILURE,
	loadFromOptions,
	withConfigOptions,
} from "./config-options.ts";

export interface StoreOptions extends ConfigOptions {
	readonly dataDir?: string;
	readonly url?: string;
	readonly json?: boolean;
}

export function withStoreOptions(command: Command): Command {
	return withConfigOptions(command)
		.option("--data-dir <folder>", "data folder of the gateway (else TOKLIGENCE_DATA_DIR, else the configuration's)")
		.option("--url <url>", "admin plane of a gateway elsewhere; its token in TOKLIGENCE_ADMIN_TOKEN")
		.option("--json", "print as JSON, in the admin API's shapes");
}

export interface WithAdmin {
	/** Refuse instead of opening the store: for what only a running gateway knows. */
	readonly gatewayOnly?: boolean;
}

/** Runs `work` with the admin API of the data folder; a failure is printed and becomes the exit status. */
export async function withAdmin(
	options: StoreOptions,
	io: CommandIo,
	work: (client: AdminClient) => Promise<void>,
	{ gatewayOnly = false }: WithAdmin = {},
): Promise<void> {
	const loaded = loadFromOptions(options, io, options.dataDir === undefined ? {} : { dataDir: options.dataDir });
	if (!loaded.ok) {
		for (const problem of loaded.errors) io.error(`error: ${formatProblem(problem)}`);
		io.setExitCode(EXIT_CONFIG);
		return;
	}
	const { config } = loaded;
	const { dataDir } = config.storage;
	let client: AdminClient | undefined;
	try {
		const pid = options.url === undefined ? lockHolder(dataDir) : undefined;
		if (options.url !== undefined) {
			client = await remoteClient(options.url, config.admin.tokenEnv, io);
		} else if (pid === undefined && gatewayOnly) {
			throw new AdminCallError(`no gateway runs on the data folder ${dataDir}: \`tokligence start\` runs one`);
		}
		client ??=
			pid === undefined
				? await localClient(dataDir, config, io)
				: await httpAdminClient(
						{
							pid,
							dataDir,
							url: () => readAdminUrl(dataDir),
							token: () => readAdminToken(dataDir, config.admin.tokenEnv, io.env),
							certificate: readTls(config.admin, "admin")?.cert,
						},
						actor(),
					);
		await work(client);
	} catch (error) {
		const isExpected =
			error instanceof AdminCallError ||
			error instanceof StoreError ||
			(error as { code?: unknown }).code !== undefined;
		if (!isExpected) throw error;
		io.error(`error: ${(error as Error).message}`);
		io.setExitCode(EXIT_FAILURE);
	} finally {
		await client?.close();
	}
}

function remoteClient(url: string, tokenEnv: string | undefined, io: CommandIo): Promise<AdminClient> {
	const names = [...(tokenEnv === undefined ? [] : [tokenEnv]), "TOKLIGENCE_ADMIN_TOKEN"];
	const token = names.map((name) => io.env[name]?.trim()).find((value) => value !== undefined && value !== "");
	if (token === undefined) throw new AdminCallError(`--url needs the admin token in ${names.join(" or ")}`);
	return remoteAdminClient(url, token, actor());
}

async function localClient(
	dataDir: string,
	config: Parameters<typeof import("../app/local-admin.ts").openLocalAdmin>[0]["config"],
	io: CommandIo,
): Promise<AdminClient> {
	const { openLocalAdmin } = await import("../app/local-admin.ts");
	const local = await openLocalAdmin({ dataDir, config, onNotice: (notice) => io.error(`note: ${notice}`) });
	return {
		call: async (method, path, body) => {
			const response = await local.app.inject({
				method,
				url: `/v1/admin${path}`,
				headers: { authorization: `Bearer ${local.adminToken}`, "x-tokligence-actor": actor() },
				...(body === undefined ? {} : { payload: JSON.stringify(body) }),
			});
			return { status: response.statusCode, text: response.body };
		},
		close: () => local.close(),
	};
}

function actor(): string {
	try {
		return `cli:${userInfo()
			.username.replaceAll(/[^\w.@-]/g, "_")
			.slice(0, 60)}`;
	} catch {
		// a container's user without a name
		return "cli";
	}
}

export interface Listed {
	readonly count: number;
	readonly next_cursor: string | null;
}

/** All pages of a list, one after the other. */
export async function* pagesOf<T extends Listed>(
	client: AdminClient,
	path: string,
	query: Readonly<Record<string, string | number | undefined>>,
): AsyncGenerator<T> {
	let cursor: string | undefined;
	do {
		const page: T = await callJson<T>(client, "GET", `${path}${queryOf({ limit: 1000, ...query, cursor })}`);
		yield page;
		cursor = page.next_cursor ?? undefined;
	} while (cursor !== undefined);
}

export type Item = Readonly<Record<string, unknown>>;

/** Every item of a list. */
export async function allItems(
	client: AdminClient,
	path: string,
	plural: string,
	query: Readonly<Record<string, string | number | undefined>> = {},
): Promise<readonly Item[]> {
	const items: Item[] = [];
	for await (const page of pagesOf<Listed & Item>(client, path, query)) items.push(...(page[plural] as Item[]));
	return items;
}

/** A list as `--json` prints it: the API's shape, an item a line. */
export function listJson(plural: string, items: readonly Item[]): string {
	const lines = items.map((item) => JSON.stringify(item)).join(",\n");
	return `{"${plural}":[${lines === "" ? "" : `\n${lines}\n`}],"count":${items.length},"next_cursor":null}`;
}

/** Columns as wide as their longest cell; what is absent is a dash. */
export function table(columns: readonly string[], items: readonly Item[]): string {
	const rows = [
		columns.map((column) => column.toUpperCase()),
		...items.map((item) => columns.map((c) => cell(item[c]))),
	];
	const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
	return rows
		.map((row) =>
			row
				.map((text, i) => text.padEnd(widths[i]!))
				.join("  ")
				.trimEnd(),
		)
		.join("\n");
}

/** One thing, a field a line; what is absent is left out. */
export function fieldLines(item: Item): string {
	const fields = Object.entries(item).filter(([, value]) => value !== null && value !== undefined);
	const width = Math.max(...fields.map(([name]) => name.length));
	return fields.map(([name, value]) => `${name.padEnd(width)}  ${cell(value)}`).join("\n");
}

/** One value, on one line, without control characters. */
export function cell(value: unknown): string {
	if (value === null || value === undefined || value === "") return "-";
	// names come from clients: nothing of theirs steers the terminal
	const text = typeof value === "object" ? JSON.stringify(value) : String(value);
	return text.replaceAll(/\p{Cc}/gu, "?");
}

/** A number where it is one; otherwise the text, which the API then refuses in its own words. */
export function numberOrText(text: string): number | string {
	return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

export function textList(text: string): readonly string[] {
	return text
		.split(",")
		.map((part) => part.trim())
		.filter((part) => part !== "");
}
