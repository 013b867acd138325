/**
 * How the command line finds the gateway of a data folder: `admin-token` (what lets it in) and `admin-url` (where it listens), both
 * readable by their owner only.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const TOKEN_FILE = "admin-token";
const URL_FILE = "admin-url";
const TOKEN_BYTES = 32;

type Environment = Readonly<Record<string, string | undefined>>;

/** From the variable that the configuration names, else from the folder, where the first start makes it. Throws a plain sentence. */
export function obtainAdminToken(folder: string, tokenEnv: string | undefined, env: Environment): string {
	if (tokenEnv !== undefined) {
		const token = env[tokenEnv]?.trim();
		if (token === undefined || token === "") {
			throw new Error(`[admin] token_env names ${tokenEnv}, which is not set: put the admin token there`);
		}
		return token;
	}
	const known = readLine(folder, TOKEN_FILE);
	if (known !== undefined) return known;
	const token = `adm_${randomBytes(TOKEN_BYTES).toString("base64url")}`;
	replaceFile(folder, TOKEN_FILE, token);
	return token;
}

/** Undefined when neither the variable nor the folder has one. */
export function readAdminToken(folder: string, tokenEnv: string | undefined, env: Environment): string | undefined {
	return (tokenEnv === undefined ? undefined : env[tokenEnv]?.trim() || undefined) ?? readLine(folder, TOKEN_FILE);
}

export function writeAdminUrl(folder: string, url: string): void {
	replaceFile(folder, URL_FILE, url);
}

export function removeAdminUrl(folder: string): void {
	rmSync(join(folder, URL_FILE), { force: true });
}

export function readAdminUrl(folder: string): string | undefined {
	return readLine(folder, URL_FILE);
}

function readLine(folder: string, name: string): string | undefined {
	try {
		return readFileSync(join(folder, name), "utf8").trim() || undefined;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}

/** Whole or not at all: a reader never sees half of it. */
function replaceFile(folder: string, name: string, text: string): void {
	const fresh = join(folder, `${name}.${process.pid}`);
	writeFileSync(fresh, `${text}\n`, { mode: 0o600 });
	renameSync(fresh, join(folder, name));
}
