/** Checks of what is kept: data folder, database, journal, tokens, admin token. They change nothing that is there. */
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { SqliteDatabase } from "../stores/embedded/sqlite-database.ts";
import { parseTokenList } from "../stores/memory/token-list.ts";
import { sqlStores } from "../stores/sql/sql-stores.ts";
import { databasePath, databaseStatus } from "./database.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { systemClock } from "./system.ts";

const BYTES_PER_MEGABYTE = 1_000_000;
/** Below it the journal has hardly room for an outage of the database. */
const LITTLE_ROOM_BYTES = 1000 * BYTES_PER_MEGABYTE;
const NO_ROOM_BYTES = 50 * BYTES_PER_MEGABYTE;
/** A full check reads every page. */
const LARGEST_CHECKED_BYTES = 500 * BYTES_PER_MEGABYTE;

export function checkDataFolder(dataDir: string): readonly Finding[] {
	const check = "data folder";
	const folder = existsSync(dataDir) ? dataDir : firstExisting(dataDir);
	try {
		accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
	} catch (error) {
		const advice = "give it to the user that runs the gateway, or choose another with --data-dir";
		return [fail(check, `${folder} cannot be written (${(error as NodeJS.ErrnoException).code})`, advice)];
	}
	const findings: Finding[] = [];
	if (folder !== dataDir) findings.push(ok(check, `${dataDir} is not there yet, the first start makes it`));
	else if (process.platform !== "win32" && (statSync(dataDir).mode & 0o077) !== 0) {
		findings.push(warn(check, `${dataDir} can be read by other users`, `chmod 700 ${dataDir}`));
	} else findings.push(ok(check, dataDir));
	const { bavail, bsize } = statfsSync(folder);
	const free = bavail * bsize;
	const room = `${Math.floor(free / BYTES_PER_MEGABYTE)} MB free`;
	const advice = "free disk space: while it is full, usage records wait in memory";
	if (free < NO_ROOM_BYTES) findings.push(fail("disk", room, advice));
	else findings.push(free < LITTLE_ROOM_BYTES ? warn("disk", room, advice) : ok("disk", room));
	return findings;
}

export async function checkDatabase(dataDir: string): Promise<readonly Finding[]> {
	const check = "database";
	const path = databasePath(dataDir);
	try {
		const size = existsSync(path) ? statSync(path).size : 0;
		const status = await databaseStatus(dataDir, { check: size > 0 && size < LARGEST_CHECKED_BYTES });
		if (!status.exists) return [ok(check, `${path} is not there yet, the first start makes it`)];
		const { schemaVersion, latestVersion, pending, damage = [] } = status;
		if (damage.length > 0) {
			return [fail(check, `${path} is damaged: ${damage[0]}`, "`tokligence db restore` puts a backup in its place")];
		}
		if (schemaVersion > latestVersion) {
			const message = `schema version ${schemaVersion} is of a newer program, this one knows ${latestVersion}`;
			return [fail(check, message, "use the newer program, or restore a backup made before the upgrade")];
		}
		if (pending.length > 0) {
			const message = `schema version ${schemaVersion} of ${latestVersion}`;
			return [warn(check, message, "`tokligence db migrate`, or the next start, brings it up to date")];
		}
		return [ok(check, `${path}, schema ${schemaVersion}, ${Math.ceil(status.sizeBytes / 1000)} kB`)];
	} catch (error) {
		return [fail(check, (error as Error).message, "the message says what to do")];
	}
}

export function checkJournal(dataDir: string): readonly Finding[] {
	const folder = join(dataDir, "journal");
	if (!existsSync(folder)) return [];
	const names = readdirSync(folder);
	const damaged = names.filter((name) => name.endsWith(".damaged"));
	const bytes = names.reduce(
		(sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
		0,
	);
	const message = `${Math.ceil(bytes / 1000)} kB`;
	if (damaged.length === 0) return [ok("journal", message)];
	return [
		warn(
			"journal",
			`${damaged.length} damaged parts were set aside: ${damaged.join(", ")}`,
			`records after the damage may be missing in the usage; keep or delete the files in ${folder}`,
		),
	];
}

/** Who can get in: tokens of the database, the token file, the default account. */
export async function checkTokens(config: GatewayConfig): Promise<readonly Finding[]> {
	const { file, enabled } = config.classifier.token;
	const findings = file === undefined ? [] : [checkTokenFile(file)];
	if (!enabled || config.requestScheduler.classifier === "header") return findings;
	const known = await countTokens(config.storage.dataDir).catch(() => undefined);
	if (known === undefined || findings.some(({ status }) => status !== "fail")) return findings;
	if (known > 0) return [...findings, ok("tokens", `the database has active tokens`)];
	if (config.classifier.default.enabled) {
		return [...findings, ok("tokens", "none yet; requests without one are served as account default")];
	}
	const advice = "`tokligence account create` and `tokligence token create` make one";
	return [...findings, warn("tokens", "there is no active token, every request is refused", advice)];
}

function checkTokenFile(file: string): Finding {
	const check = "token file";
	try {
		const list = parseTokenList(readFileSync(file, "utf8"), file);
		if (list.ok) return ok(check, `${file}, ${list.rows.length} tokens`);
		return fail(check, list.errors.join("; "), "correct these lines: `tokligence token hash` makes them");
	} catch (error) {
		return fail(check, `${file} cannot be read (${(error as Error).message})`, "correct [classifier.token] file");
	}
}

async function countTokens(dataDir: string): Promise<number> {
	const path = databasePath(dataDir);
	if (!existsSync(path)) return 0;
	const database = await SqliteDatabase.open({ path, readOnly: true, thread: false });
	try {
		const { tokens } = sqlStores(database, systemClock.epochNow);
		return (await tokens.active(undefined, 1)).length;
	} finally {
		await database.close();
	}
}

export function checkAdminToken(config: GatewayConfig, env: Readonly<Record<string, string | undefined>>): Finding {
	const check = "admin token";
	const { tokenEnv } = config.admin;
	if (tokenEnv !== undefined) {
		if ((env[tokenEnv] ?? "").trim() !== "") return ok(check, `from ${tokenEnv}`);
		return fail(
			check,
			`[admin] token_env names ${tokenEnv}, which is not set`,
			`set ${tokenEnv} where the gateway starts`,
		);
	}
	const path = join(config.storage.dataDir, "admin-token");
	const stat = statSync(path, { throwIfNoEntry: false });
	if (stat === undefined) return ok(check, "the first start makes one in the data folder");
	if (process.platform !== "win32" && (stat.mode & 0o077) !== 0) {
		return fail(
			check,
			`${path} can be read by other users`,
			`chmod 600 ${path}, then delete it and restart to get a new one`,
		);
	}
	return ok(check, path);
}

function firstExisting(path: string): string {
	let folder = resolve(path);
	while (!existsSync(folder)) folder = dirname(folder);
	return folder;
}
