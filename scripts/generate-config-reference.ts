// Writes docs/configuration.md from the configuration schema: `node scripts/generate-config-reference.ts`.
import { writeFileSync } from "node:fs";
import { configReference } from "../src/config/reference.ts";

writeFileSync(new URL("../docs/configuration.md", import.meta.url), configReference());
