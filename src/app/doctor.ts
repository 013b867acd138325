/** All checks of `tokligence doctor` over one configuration, in the order in which a start would stumble. */
import { existsSync, readFileSync } from "node:fs";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { checkPorts, checkProviders } from "./check-network.ts";
import { checkAdminToken, checkDatabase, checkDataFolder, checkJournal, checkTokens } from "./check-storage.ts";
import { checkTls } from "./check-tls.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

export type { Finding } from "./finding.ts";

/** Connections of requests that run (two each), of the admin plane, files. A waiting request holds one connection. */
const FILES_BESIDE_WAITING = 2000;
/** Before this program existed no clock may stand. */
const EARLIEST_NOW = Date.UTC(2025, 0, 1);

export async function examine(
	config: GatewayConfig,
	env: Readonly<Record<string, string | undefined>>,
): Promise<readonly Finding[]> {
	const { dataDir } = config.storage;
	return [
		...checkDataFolder(dataDir),
		...(await checkDatabase(dataDir)),
		...checkJournal(dataDir),
		checkAdminToken(config, env),
		...(await checkTokens(config)),
		...checkTls(config, Date.now()),
		...(await checkPorts(config)),
		...(await checkProviders(config, env)),
		checkClock(Date.now()),
		checkOpenFiles(config.requestScheduler.maxWaiting, openFilesLimit()),
	];
}

export function checkClock(now: number): Finding {
	const shown = new Date(now).toISOString();
	if (now >= EARLIEST_NOW) return ok("clock", shown);
	return fail("clock", `it is not ${shown}`, "set the clock: expiry of tokens and days of usage follow it");
}

/** @param limit undefined where the system does not say */
export function checkOpenFiles(maxWaiting: number, limit: number | undefined): Finding {
	const check = "open files";
	if (limit === undefined) return ok(check, "this system does not say");
	const needed = maxWaiting + FILES_BESIDE_WAITING;
	const shown = limit === Number.POSITIVE_INFINITY ? "unlimited" : String(limit);
	if (limit >= needed) return ok(check, shown);
	return warn(
		check,
		`${shown}, and ${maxWaiting} waiting requests ([request_scheduler] max_waiting) may need ${needed}`,
		`raise it (\`ulimit -n ${needed}\`, LimitNOFILE of systemd), or lower max_waiting`,
	);
}

function openFilesLimit(): number | undefined {
	// Node raises its soft limit to the hard one when it starts
	const path = "/proc/self/limits";
	if (!existsSync(path)) return undefined;
	const value = /^Max open files\s+(\S+)/m.exec(readFileSync(path, "utf8"))?.[1];
	if (value === undefined) return undefined;
	return value === "unlimited" ? Number.POSITIVE_INFINITY : Number(value);
}
