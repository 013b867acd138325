/** Who may read `/metrics` (`[admin] metrics_public`): by default clients on loopback, and whoever has the admin token. */
import type { IncomingMessage } from "node:http";
import { type GatewayConfig, isLoopback } from "../config/gateway-config.ts";
import type { AdminAccess } from "../http/admin/admin-access.ts";
import { plainAddress } from "../http/peers.ts";

export function mayReadMetrics(
	metricsPublic: GatewayConfig["admin"]["metricsPublic"],
	access: AdminAccess,
	request: IncomingMessage,
): boolean {
	if (metricsPublic === true) return true;
	if (metricsPublic === "loopback" && isLoopback(plainAddress(request.socket.remoteAddress ?? ""))) return true;
	// Scrapers know both ways of sending a secret.
	return access.check(request.headers.authorization, true) === undefined;
}
