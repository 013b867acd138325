/** All commands of `tokligence`, each loaded only when it is called. */
import type { Command } from "commander";

/** Command → what it does, and how to load it. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
	start: async () => (await import("./start.ts")).startCommand(),
	demo: async () => (await import("./demo.ts")).demoCommand(),
	"mock-llm": async () => (await import("./mock-llm.ts")).mockLlmCommand(),
	"validate-config": async () => (await import("./validate-config.ts")).validateConfigCommand(),
	account: async () => (await import("./account.ts")).accountCommand(),
	token: async () => (await import("./token.ts")).tokenCommand(),
	rule: async () => (await import("./rule.ts")).ruleCommand(),
	window: async () => (await import("./window.ts")).windowCommand(),
	windows: async () => (await import("./window.ts")).windowsCommand(),
	quota: async () => (await import("./quota.ts")).quotaCommand(),
	queue: async () => (await import("./queue.ts")).queueCommand(),
	request: async () => (await import("./request.ts")).requestCommand(),
	status: async () => (await import("./status.ts")).statusCommand(),
	top: async () => (await import("./top.ts")).topCommand(),
	tail: async () => (await import("./tail.ts")).tailCommand(),
	usage: async () => (await import("./usage.ts")).usageCommand(),
	apply: async () => (await import("./apply.ts")).applyCommand(),
	diff: async () => (await import("./apply.ts")).diffCommand(),
	export: async () => (await import("./apply.ts")).exportCommand(),
	doctor: async () => (await import("./doctor.ts")).doctorCommand(),
	db: async () => (await import("./db.ts")).dbCommand(),
	config: async () => (await import("./config.ts")).configCommand(),
	"migrate-to-bucket-scheduler": async () => (await import("./migrate.ts")).migrateCommand(),
	scheduler: async () => (await import("./scheduler.ts")).schedulerCommand(),
	explain: async () => (await import("./explain.ts")).explainCommand(),
	"bucket-scheduler": async () => (await import("./scheduler.ts")).bucketSchedulerCommand(),
	benchmark: async () => (await import("./benchmark.ts")).benchmarkCommand(),
	simulate: async () => (await import("./simulate.ts")).simulateCommand(),
	completion: async () => (await import("./completion.ts")).completionCommand(allCommands),
};

export function allCommands(): Promise<readonly Command[]> {
	return Promise.all(Object.values(COMMANDS).map((make) => make()));
}
