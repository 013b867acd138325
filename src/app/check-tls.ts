/** Certificates of both listeners: readable, a pair, in force now and for a while. */
import { X509Certificate } from "node:crypto";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { EpochMillis } from "../core/model/units.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { readTls } from "./tls.ts";

/** A week after those who renew theirs in the last third of ninety days have done so. */
const SOON_MS = 21 * 86_400_000;

export function checkTls(config: Pick<GatewayConfig, "gateway" | "admin">, now: EpochMillis): readonly Finding[] {
	return (["gateway", "admin"] as const).flatMap((section) => {
		const check = `certificate of [${section}]`;
		const advice = `renew ${config[section].tlsCert}; a running gateway takes the new file over by itself`;
		try {
			const pair = readTls(config[section], section);
			if (pair === undefined) return [];
			const { validFromDate, validToDate } = new X509Certificate(pair.cert);
			const until = validToDate.toISOString();
			if (validToDate.getTime() <= now) return [fail(check, `it ended ${until}`, advice)];
			if (validFromDate.getTime() > now) {
				return [fail(check, `it begins ${validFromDate.toISOString()}`, "clients refuse it until then; see the clock")];
			}
			if (validToDate.getTime() - now < SOON_MS) return [warn(check, `it ends ${until}`, advice)];
			return [ok(check, `good until ${until}`)];
		} catch (error) {
			return [fail(check, (error as Error).message, "a start needs both files: PEM, and made for each other")];
		}
	});
}
