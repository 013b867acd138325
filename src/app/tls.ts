/**
 * Certificate and key of a listener (PEM), read at the start and again when one of the files changes. A pair that does not fit changes
 * nothing: files are replaced one after the other, and the second one is looked at, too.
 */
import { readFileSync } from "node:fs";
import type { Server } from "node:https";
import { createSecureContext } from "node:tls";
import type { Timers } from "../ports/clock.ts";
import { watchFile } from "./file-watch.ts";

export interface TlsPair {
	readonly cert: Buffer;
	readonly key: Buffer;
}

interface TlsConfig {
	readonly tlsCert: string | undefined;
	readonly tlsKey: string | undefined;
}

/** Undefined for a listener without TLS. Throws a plain sentence. */
export function readTls({ tlsCert, tlsKey }: TlsConfig, section: string): TlsPair | undefined {
	if (tlsCert === undefined || tlsKey === undefined) return undefined;
	try {
		const pair = { cert: readFileSync(tlsCert), key: readFileSync(tlsKey) };
		createSecureContext(pair);
		return pair;
	} catch (error) {
		throw new Error(`[${section}] tls_cert ${tlsCert} and tls_key ${tlsKey}: ${(error as Error).message}`);
	}
}

/** Connections that come after a change see the new pair. Answers how to stop. */
export function watchTls(
	server: Server,
	config: TlsConfig,
	section: string,
	timers: Timers,
	onReload: (problem: string | undefined) => void,
): () => void {
	const { tlsCert, tlsKey } = config;
	if (tlsCert === undefined || tlsKey === undefined) return () => {};
	const reload = () => {
		try {
			server.setSecureContext(readTls(config, section)!);
			onReload(undefined);
		} catch (error) {
			onReload((error as Error).message);
		}
	};
	const stops = [tlsCert, tlsKey].map((file) => watchFile(file, timers, reload));
	return () => {
		for (const stop of stops) stop();
	};
}
