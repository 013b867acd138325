/** Listening on an address of the configuration, with a sentence for a person when that fails. */
import { Server as HttpsServer } from "node:https";
import type { AddressInfo, Server } from "node:net";

export function listen(server: Server, address: { readonly host: string; readonly port: number }): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once("error", (error: NodeJS.ErrnoException) => {
			const why =
				error.code === "EADDRINUSE"
					? "the port is taken: choose another with --port / --admin-port (0 takes any free one)"
					: error.message;
			reject(new Error(`cannot listen on ${address.host}:${address.port}: ${why}`));
		});
		server.listen(address.port, address.host, () => resolve());
	});
}

export function urlOf(server: Server, host: string): string {
	const { port } = server.address() as AddressInfo;
	const scheme = server instanceof HttpsServer ? "https" : "http";
	return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
