/**
 * `tokligence explain`: what the gateway would do with a described request, step by step, and whether it could ever run. Offline: with the
 * configuration and the default routing rules, in an idle gateway that has learnt nothing.
 */
import { Command, Option } from "commander";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import { reportingUserErrors, UserError, wholeNumber } from "./capacity-proposal.ts";
import {
	type CommandIo,
	type ConfigOptions,
	EXIT_FAILURE,
	loadOrReport,
	processIo,
	withConfigOptions,
} from "./config-options.ts";
import { type Described, explainDecision } from "./explain-decision.ts";
import { explanationAsJson, explanationAsText } from "./explain-report.ts";

const EXAMPLES = `
Examples:
  tokligence explain --tier internal --environment production
  tokligence explain --tier external --account acme --prompt-tokens 2000 --max-tokens 500 --config gateway.ini
  tokligence explain --tier external --priority high --max-priority 1 --json

Exit status: 0 when the decision is explained (a refusal is one), 78 when the configuration cannot be used, 1 when a flag is wrong.`;

const WORD = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const MAX_TOKENS = 1_000_000_000;

interface ExplainOptions extends ConfigOptions {
	readonly tier: string;
	readonly environment?: string;
	readonly accountTier?: string;
	readonly accountType?: "internal" | "external";
	readonly workload?: string;
	readonly tag?: string;
	readonly model?: string;
	readonly account?: string;
	readonly priority?: string;
	readonly class?: string;
	readonly maxPriority?: number;
	readonly promptTokens: number;
	readonly maxTokens?: number;
	readonly json?: boolean;
}

export function explainCommand(io: CommandIo = processIo()): Command {
	return withConfigOptions(new Command("explain"))
		.description("the decision for a described request, step by step, without a gateway")
		.option("--tier <tier>", "internal, external, premium, spot, or a tier of your own", "default")
		.option("--environment <name>", "production, staging, dev, test, uat or your own")
		.option("--account <id>", "whose request it is", "default")
		.addOption(new Option("--account-type <type>", "of the account").choices(["internal", "external"]))
		.option("--account-tier <tier>", "of the account, like standard")
		.option("--workload <kind>", "realtime, batch, interactive")
		.option("--tag <tag>", "workload tag of the token")
		.option("--model <name>", "as the client names it (else one that the first provider serves)")
		.option("--priority <level>", "what X-Priority asks for: a number or a name like high")
		.option("--class <class>", "what X-Request-Class asks for: critical, realtime, batch, spot")
		.addOption(new Option("--max-priority <n>", "best level that the token may ask for").argParser(wholeNumber(0, 19)))
		.addOption(
			new Option("--prompt-tokens <n>", "length of the prompt").argParser(wholeNumber(0, MAX_TOKENS)).default(500),
		)
		.addOption(new Option("--max-tokens <n>", "max_tokens of the request").argParser(wholeNumber(0, MAX_TOKENS)))
		.option("--json", "print as JSON")
		.addHelpText("after", EXAMPLES)
		.action((options: ExplainOptions) => reportingUserErrors(io, EXIT_FAILURE, () => explain(options, io)));
}

function explain(options: ExplainOptions, io: CommandIo): void {
	for (const name of ["tier", "environment", "accountTier", "workload"] as const) {
		const value = options[name];
		if (value !== undefined && !WORD.test(value))
			throw new UserError(`${name} ${JSON.stringify(value)} is not a word of a-z, 0-9, _ and -`);
	}
	const loaded = loadOrReport(options, io);
	if (loaded === undefined) return;
	const explanation = explainDecision(loaded.config, describe(options, loaded.config));
	if (options.json === true) io.out(JSON.stringify(explanationAsJson(explanation, loaded.config), undefined, 2));
	else for (const line of explanationAsText(explanation, loaded.config)) io.out(line);
}

function describe(options: ExplainOptions, config: GatewayConfig): Described {
	const metadata: RoutingMetadata = {
		tier: options.tier,
		accountId: options.account ?? "default",
		routedBy:
			options.tier === "default" ? "default" : config.requestScheduler.classifier === "header" ? "header" : "token",
		...(options.environment === undefined ? {} : { environment: options.environment }),
		...(options.accountTier === undefined ? {} : { accountTier: options.accountTier }),
		...(options.accountType === undefined ? {} : { accountType: options.accountType }),
		...(options.workload === undefined ? {} : { workload: options.workload }),
		...(options.tag === undefined ? {} : { tag: options.tag }),
		...(options.maxPriority === undefined
			? {}
			: { token: { maxPriority: options.maxPriority, mayUseCritical: options.maxPriority === 0 } }),
	};
	return {
		metadata,
		hints: {
			...(options.priority === undefined ? {} : { priority: options.priority }),
			...(options.class === undefined ? {} : { requestClass: options.class }),
		},
		model: options.model ?? servedModel(config),
		promptTokens: options.promptTokens,
		maxTokens: options.maxTokens,
	};
}

/** A name that some provider serves, patterns filled in. */
function servedModel({ providers }: GatewayConfig): string {
	return (providers[0]?.models[0] ?? "*").replaceAll("*", "any");
}
