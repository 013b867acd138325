/** Every implementation of `Stores` takes the same exam. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { memoryStores } from "../../src/stores/memory/memory-stores.ts";
import { describeStores } from "./stores-contract.ts";

const freshFile = () => join(mkdtempSync(join(tmpdir(), "tgw-stores-")), "gateway.db");

describeStores("memory", async (epochNow) => memoryStores(epochNow));
describeStores("embedded, on its own thread", (epochNow) => openEmbedded({ path: freshFile() }, epochNow));
describeStores("embedded, on the calling thread", (epochNow) =>
	openEmbedded({ path: freshFile(), thread: false }, epochNow),
);
describeStores("embedded, in memory", (epochNow) => openEmbedded({ path: ":memory:", thread: false }, epochNow));
