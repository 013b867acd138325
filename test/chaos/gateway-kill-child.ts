/**
 * Several gateways in one process, for `gateway-kill.test.ts`: starting a process costs more than anything else there. Each has a folder,
 * ports and traffic of its own. Arguments: upstream, folders.
 */
import { startGateway } from "../../src/app/gateway.ts";
import { loadConfig } from "../../src/config/load.ts";

const INI = "[classifier.default]\nenabled = true\n[capacity]\nmax_concurrent = 16\n";
const [upstream = "", ...folders] = process.argv.slice(2);
for (const dataDir of folders) {
	const loaded = loadConfig({ text: INI, flags: { upstream, dataDir, port: "0", adminPort: "0" } });
	if (!loaded.ok) throw new Error("configuration");
	const { dataUrl } = await startGateway(loaded.config);
	process.stdout.write(`${JSON.stringify({ data: dataUrl })}\n`);
}
