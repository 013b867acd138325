/**
 * `tokligence explain`: what the gateway would do with a described request, step by step, and whether it could ever run. Offline: with the
 * configuration and the default routing rules or a policy file, in an idle gateway that has learnt nothing. Live: as the running gateway stands at the moment.
 */
import { Command, Option } from "commander";
import type { Policy } from "../app/policy-reader.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import { reportingUserErrors, UserError, wholeNumber } from "./capacity-proposal.ts";
import { type CommandIo, EXIT_FAILURE, loadOrReport, processIo } from "./config-options.ts";
import { type Described, explainDecision } from "./explain-decision.ts";
import { explainLive } from "./explain-live.ts";
import { explanationAsJson, explanationAsText } from "./explain-report.ts";
import { instantOf, openPolicy, POLICY_FLAG, policyFor } from "./offline-policy.ts";
import { type StoreOptions, withStoreOptions } from "./store-access.ts";

const EXAMPLES = `
Examples:
  tokligence explain --tier internal --environment production
  tokligence explain --tier external --account acme --prompt-tokens 2000 --max-tokens 500 --config gateway.ini
  tokligence explain --tier external --priority high --max-priority 1 --json
  tokligence explain --policy policy.yaml --account acme --tier external --at 2026-11-27T22:30+01:00
  tokligence explain --live --token tok_… --priority high
  tokligence explain --url http://gateway.internal:8080 --tier internal --environment production

Exit status: 0 when the decision is explained (a refusal is one), 78 when the configuration cannot be used, 1 when a flag is wrong or no gateway runs.`;

const WORD = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const MAX_TOKENS = 1_000_000_000;

interface ExplainOptions extends StoreOptions {
	readonly live?: boolean;
	readonly token?: string;
	readonly policy?: string;
	readonly at?: string;
	readonly organisation?: string;
	readonly tier?: string;
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
}

export function explainCommand(io: CommandIo = processIo()): Command {
	return withStoreOptions(new Command("explain"))
		.description(
			"the decision for a described request, step by step, without a gateway or as the running one would take it",
		)
		.option("--live", "ask the running gateway: its rules, its queues, its load")
		.option("--token <id>", "as if it came with this token (live)")
		.option("--policy <file>", POLICY_FLAG)
		.option("--at <instant>", "as the calendar of --policy has it then, like 2026-11-27T22:30+01:00 (now)")
		.option("--tier <tier>", "internal, external, premium, spot, or a tier of your own (else default)")
		.option("--environment <name>", "production, staging, dev, test, uat or your own")
		.option("--account <id>", "whose request it is (else default)")
		.option("--organisation <name>", "of the account")
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
		.addHelpText("after", EXAMPLES)
		.action((options: ExplainOptions) => reportingUserErrors(io, EXIT_FAILURE, () => explain(options, io)));
}

async function explain(options: ExplainOptions, io: CommandIo): Promise<void> {
	for (const name of ["tier", "environment", "accountTier", "workload"] as const) {
		const value = options[name];
		if (value !== undefined && !WORD.test(value))
			throw new UserError(`${name} ${JSON.stringify(value)} is not a word of a-z, 0-9, _ and -`);
	}
	const isLive = options.live === true || options.url !== undefined;
	if (isLive && options.maxPriority !== undefined)
		throw new UserError("--max-priority describes a token that does not exist: with --live name one with --token");
	if (!isLive && options.token !== undefined)
		throw new UserError("--token needs --live: only a gateway knows its tokens");
	if (isLive && (options.policy !== undefined || options.at !== undefined))
		throw new UserError(
			"--policy and --at are for an answer without a gateway: a running one has its own, and its own time",
		);
	if (options.at !== undefined && options.policy === undefined)
		throw new UserError("--at needs --policy: only a policy file has time windows");
	const loaded = loadOrReport(options, io);
	if (loaded === undefined) return;
	if (isLive) return explainLive(describeLive(options, loaded.config), options, io);
	const policy = options.policy === undefined ? undefined : await policyFor(openPolicy(options.policy), loaded.config);
	const explanation = explainDecision(loaded.config, describe(options, loaded.config, policy), {
		at: options.at === undefined ? Date.now() : instantOf(options.at),
		...(policy === undefined ? {} : { policy }),
	});
	if (options.json === true) io.out(JSON.stringify(explanationAsJson(explanation, loaded.config), undefined, 2));
	else for (const line of explanationAsText(explanation, loaded.config)) io.out(line);
}

/** In the admin API's shape. */
function describeLive(options: ExplainOptions, config: GatewayConfig): Readonly<Record<string, unknown>> {
	return {
		token_id: options.token,
		tier: options.tier,
		environment: options.environment,
		workload: options.workload,
		account_id: options.account,
		organisation: options.organisation,
		account_type: options.accountType,
		account_tier: options.accountTier,
		tag: options.tag,
		model: options.model ?? servedModel(config),
		prompt_tokens: options.promptTokens,
		max_tokens: options.maxTokens,
		x_priority: options.priority,
		x_request_class: options.class,
	};
}

function describe(options: ExplainOptions, config: GatewayConfig, policy: Policy | undefined): Described {
	const account = policy?.accounts.find(({ id }) => id === options.account);
	if (options.account !== undefined && policy !== undefined && policy.accounts.length > 0 && account === undefined)
		throw new UserError(
			`--account ${JSON.stringify(options.account)} is not in the policy; it has ${policy.accounts.map(({ id }) => id).join(", ")}`,
		);
	const tier = options.tier ?? "default";
	const metadata: RoutingMetadata = {
		tier,
		accountId: options.account ?? "default",
		routedBy: tier === "default" ? "default" : config.requestScheduler.classifier === "header" ? "header" : "token",
		...(options.environment === undefined ? {} : { environment: options.environment }),
		...(account?.team === undefined ? {} : { teamId: account.team }),
		...found("accountTier", options.accountTier ?? account?.accountTier),
		...found("accountType", options.accountType ?? account?.accountType),
		...found("organisation", options.organisation ?? account?.organisation),
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

function found<N extends string, T>(name: N, value: T | undefined): { readonly [P in N]?: T } {
	return value === undefined ? {} : ({ [name]: value } as { readonly [P in N]: T });
}

/** A name that some provider serves, patterns filled in. */
function servedModel({ providers }: GatewayConfig): string {
	return (providers[0]?.models[0] ?? "*").replaceAll("*", "any");
}
