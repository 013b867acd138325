/** The end of a data plane: requests under way end, answers reach their clients, then every connection is closed. */
import type { Server } from "node:http";
import type { DataPlane } from "../http/data-plane.ts";

/** How long answers that are complete may take to reach their clients. */
const FAREWELL_MS = 1000;

/** Resolves when every request has ended and every answer is with its client, or when time is up. */
export async function drain(server: Server, plane: DataPlane, timeoutMs: number): Promise<void> {
	let closed = false;
	server.close(() => {
		closed = true;
	});
	const deadline = performance.now() + timeoutMs;
	const until = async (over: () => boolean, limit: number) => {
		while (!over() && performance.now() < limit) {
			server.closeIdleConnections();
			await new Promise((resolve) => setTimeout(resolve, 10));
		}
	};
	await until(() => plane.exchanges.size === 0, deadline);
	for (const exchange of plane.exchanges.list()) exchange.endForDrain();
	await until(() => closed, performance.now() + FAREWELL_MS);
	server.closeAllConnections();
}
