/**
 * The composition root: builds a gateway from a configuration, and takes it down again. Everything that touches the outside is made
 * here and handed down.
 */

import type { Server as HttpsServer } from "node:https";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { compile, guardSettings } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { pricesOf } from "../config/prices.ts";
import { protectionOf } from "../config/protection.ts";
import type { ActiveWindows } from "../core/allocate/time-window.ts";
import { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import { defaultRules } from "../core/classify/default-rules.ts";
import { Estimator } from "../core/classify/estimator.ts";
import type { FlowStep } from "../core/lifecycle/flow-steps.ts";
import { Lifecycle } from "../core/lifecycle/lifecycle.ts";
import type { RoutingRule } from "../core/model/policy.ts";
import { Engine } from "../engine/engine.ts";
import { RateGate } from "../engine/rate-gate.ts";
import { RecentDecisions } from "../engine/recent-decisions.ts";
import { AdminAccess } from "../http/admin/admin-access.ts";
import type { AdminContext, ReloadResult } from "../http/admin/admin-context.ts";
import { refuse } from "../http/admin/admin-error.ts";
import { adminPlane, jsonAnswer, refusalAnswer } from "../http/admin/admin-plane.ts";
import { CapacityHold } from "../http/capacity-hold.ts";
import { type DataPlane, dataPlaneServer } from "../http/data-plane.ts";
import { HeaderAudit } from "../http/header-audit.ts";
import { LiveExchanges } from "../http/live-exchanges.ts";
import type { Stores } from "../ports/stores.ts";
import { ProviderSet } from "../providers/provider-set.ts";
import { type EmbeddedStores, openEmbedded } from "../stores/embedded/open.ts";
import { FileJournal } from "../stores/journal/file-journal.ts";
import { journalFiles } from "../stores/journal/journal-files.ts";
import { LedgerWriter } from "../stores/journal/ledger-writer.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { asOpenMetrics, OPENMETRICS_TYPE, PROMETHEUS_TYPE, wantsOpenMetrics } from "../telemetry/metrics-text.ts";
import { obtainAdminToken, removeAdminUrl, writeAdminUrl } from "./admin-files.ts";
import { systemCalendar } from "./calendar.ts";
import { CapacityKeeper } from "./capacity-keeper.ts";
import { capacityAdminOf, guardMetrics } from "./capacity-status.ts";
import { classifierOf, planeSettingsOf, servingPoolsOf } from "./config-parts.ts";
import { makeDataFolder } from "./data-folder.ts";
import { lockDataFolder } from "./data-folder-lock.ts";
import { DECISIONS_KEPT, DecisionRecorder } from "./decision-recorder.ts";
import { drain } from "./drain.ts";
import { listen, urlOf } from "./listen.ts";
import { type ConfigSource, LiveConfig } from "./live-config.ts";
import { openLog } from "./log.ts";
import { mayReadMetrics } from "./metrics-access.ts";
import { noticesOf } from "./notices.ts";
import { watchPolicy } from "./policy-watch.ts";
import { processMetrics } from "./process-metrics.ts";
import { engineText } from "./promise-text.ts";
import { quotaAlerts } from "./quota-alerts.ts";
import { auditBorrowing } from "./quota-borrowing.ts";
import { openQuotas } from "./quotas.ts";
import { realClock } from "./real-clock.ts";
import { logRecord } from "./request-log.ts";
import { RunningScheduler } from "./running-scheduler.ts";
import { shadowOf } from "./shadow.ts";
import { sharedUpstreams } from "./shared-upstreams.ts";
import { systemClock, systemTimers } from "./system.ts";
import { readTls, watchTls } from "./tls.ts";
import { openTokens } from "./tokens.ts";
import { runWindows } from "./windows.ts";

export interface RunningGateway {
	readonly dataUrl: string;
	readonly adminUrl: string;
	/** What a person should know at the start: what was taken by default, what does not answer. */
	readonly notices: readonly string[];
	/** A line in the log. */
	tell(sentence: string): void;
	readonly plane: DataPlane;
	readonly stores: Stores;
	/** Reads the configuration again; for who is written in the audit log. Undefined when nobody said where it came from. */
	reload(actor: string): Promise<ReloadResult | undefined>;
	/** Requests under way end, new ones are refused; then everything is closed. Resolves within the drain time-out. */
	close(): Promise<void>;
}

/** Rejects with a plain sentence when something it cannot do without is missing. */
export async function startGateway(config: GatewayConfig, source?: ConfigSource): Promise<RunningGateway> {
	const dataTls = readTls(config.gateway, "gateway");
	const adminTls = readTls(config.admin, "admin");
	/** Of what a reload changes: the values that hold. */
	let holding = config;
	const log = openLog(config.observability.logLevel);
	const { dataDir } = config.storage;
	makeDataFolder(dataDir);
	const unlock = lockDataFolder(dataDir);
	const levels = config.allocator.priority.priorityLevels;
	const stores: EmbeddedStores = await openEmbedded(
		{ path: join(dataDir, "tokligence.db") },
		systemClock.epochNow,
		defaultRules(levels),
	);
	const journal = new FileJournal(
		{
			sync: config.storage.journalSync,
			syncIntervalMs: config.storage.journalSyncIntervalMs,
			maxBytes: config.storage.journalMaxBytes,
		},
		{
			files: journalFiles(join(dataDir, "journal")),
			timers: systemTimers,
			onWarning: (warning) => log.warn(warning, "journal"),
		},
	);
	const ledgerWriter = new LedgerWriter({
		source: journal,
		ledger: stores.ledger,
		timers: systemTimers,
		onFailure: (error) =>
			log.error({ error: String(error) }, "the ledger does not take rows, they wait in the journal"),
		onRejected: (row, error) => log.error({ request_id: row.requestId, error: error.message }, "ledger refused a row"),
	});
	ledgerWriter.start();

	const rules = await stores.rules.all();
	const lifecycleParts = compile(config, []);
	const guard = new CapacityGuard(lifecycleParts.guard);
	const lifecycle = new Lifecycle({
		guard,
		rules,
		allocator: lifecycleParts.allocator,
		...(lifecycleParts.router === undefined ? {} : { router: lifecycleParts.router }),
		levelNames: lifecycleParts.levelNames,
		pools: servingPoolsOf(lifecycleParts),
		aliases: config.models,
		flowPath: config.requestScheduler.flowPath as readonly FlowStep[],
		subqueues: config.allocator.priority.enableSubqueues,
		estimator: new Estimator({ initialCompletion: config.cost.initialCompletion }),
		burstSeconds: config.capacity.burstSeconds,
		protection: lifecycleParts.protection,
		queueTimeoutMs: (pool, queue) => engine.core.pools[pool]!.queues[queue]!.timeoutMs,
	});
	const decisions = new RecentDecisions(DECISIONS_KEPT);
	const recorder = new DecisionRecorder(decisions, systemClock);
	const coreSettings = { ...lifecycleParts.core, ruleDepths: depthsOf(lifecycle) };
	const engine = new Engine(coreSettings, realClock, (kind, queue, reason, waitMs, payer, pool, endpoint, listener) => {
		metrics.decision(kind, queue, reason, waitMs, payer, pool);
		recorder.decided(kind, queue, reason, waitMs, payer, pool, endpoint, listener);
	});
	let buckets = lifecycleParts.buckets;
	const metrics = new Metrics(engine.core, {
		now: systemClock.now,
		exposure: {
			maxExposed: config.observability.maxExposedBuckets,
			inactiveMs: config.observability.aggregateInactiveThresholdMs,
			ranges: config.observability.bucketRangeAggregation,
		},
		buckets: () => buckets,
	});
	const providers = new ProviderSet(
		lifecycleParts.pools.map(({ provider }) => ({
			endpoints: provider.endpoints,
			type: provider.type,
			apiKey: provider.apiKeyEnv === undefined ? undefined : process.env[provider.apiKeyEnv],
			engine: provider.engine,
			healthPath: provider.healthPath,
			connectTimeoutMs: provider.connectTimeoutMs,
		})),
		(pool, endpoint, health, why) => {
			log[health === "up" ? "info" : "warn"](
				{ pool: lifecycleParts.pools[pool]!.name, endpoint, why },
				`endpoint is ${health}`,
			);
			engine.change((core, now) =>
				health === "up" ? core.endpointUp(pool, endpoint, now) : core.endpointDown(pool, endpoint, now),
			);
			if (health === "down") for (const exchange of plane.exchanges.list()) exchange.endpointLost();
		},
	);

	/** As configured, or as a time window has it. */
	const configureGuard = (active?: Pick<ActiveWindows, "internalLimit" | "tierShares">) => {
		const settings = guardSettings(holding);
		const limit = active?.internalLimit ?? settings.internalLimit;
		const { resume, externalTiers, action } = settings;
		const tierShares = active?.tierShares ?? new Map<string, number>();
		guard.configure({ internalLimit: limit, resume: Math.min(resume, limit), externalTiers, action, tierShares });
	};
	const windows = config.timeWindows.enabled
		? runWindows({ store: stores.windows, lifecycle, engine, configureGuard, log })
		: undefined;
	await windows?.keeper.reload();
	if (windows !== undefined) metrics.also(windows.metrics);

	const shadow = lifecycleParts.shadow && shadowOf(lifecycleParts.allocator, lifecycleParts.shadow, log);
	if (shadow !== undefined) metrics.also(shadow.metrics);

	const tokens = openTokens(config.classifier.token, dataDir, stores.tokens, log);
	const { lookup } = tokens;
	const alerts = quotaAlerts(config, process.env, log);
	const settleLedger = async () => {
		await journal.flushed();
		return ledgerWriter.drain();
	};
	const quotas = openQuotas(config.quotas, stores, {
		settleLedger,
		onAlert: alerts.tell,
		onError: (error) => log.error({ error: String(error) }, "quotas"),
	});
	const rates = new RateGate(
		{
			burstSeconds: config.capacity.burstSeconds,
			mostBorrowPct: config.quotas.maxBorrowPct,
			maxWaiting: config.requestScheduler.maxWaiting,
		},
		{ now: systemClock.now, timers: systemTimers },
	);
	const reloadQuotas = async () => {
		await quotas.reload();
		rates.configure(await stores.quotas.all());
	};
	await reloadQuotas();
	const borrowing = config.quotas.enabled
		? auditBorrowing(rates, stores.audit, (error) => log.error({ error: String(error) }, "quotas"))
		: undefined;
	if (config.quotas.enabled) {
		await quotas.warmUp();
		metrics.also(() => alerts.metrics(quotas, rates));
	}

	const headerAudit = new HeaderAudit({
		record: (event) => stores.audit.record(event),
		timers: systemTimers,
		onError: (error) => log.error({ error: String(error) }, "the audit log takes no summary of header routing yet"),
	});
	const plane: DataPlane = {
		settings: planeSettingsOf(config, lifecycleParts),
		engine,
		lifecycle,
		classifier: classifierOf(config, levels, lookup, headerAudit),
		upstreams:
			lifecycleParts.router === undefined ? providers : sharedUpstreams(providers, lifecycleParts.pools.length),
		journal,
		poolNames: lifecycleParts.pools.map((pool) => pool.name),
		priceOf: pricesOf(config),
		...(shadow === undefined ? {} : { shadow: shadow.observe }),
		...(windows === undefined ? {} : { windows: windows.keeper }),
		...(config.quotas.enabled ? { quotas, rates } : {}),
		onEnd: (record) => {
			metrics.ended(record);
			recorder.ended(record);
			logRecord(log, record);
		},
		onBug: (error, requestId) =>
			log.error({ request_id: requestId, error: (error as Error).stack ?? String(error) }, "a bug ended a request"),
		exchanges: new LiveExchanges(),
		tokenUse: new Map(),
		draining: false,
		retryTenths: 9,
		hold: new CapacityHold(guard),
	};
	recorder.watch(plane);

	const reloadRules = async () => {
		const moved = lifecycle.replaceRules(await stores.rules.all(), systemClock.now());
		engine.core.configureRules(depthsOf(lifecycle), moved);
		await reloadQuotas();
		await windows?.keeper.reload();
	};
	const stopWatching = await watchPolicy({
		version: () => stores.policy.version(),
		changed: async () => {
			lookup.forgetAll();
			await reloadRules();
		},
		log,
	});

	let pools = lifecycleParts.pools;
	const keeper = new CapacityKeeper(pools, {
		engine,
		upstreams: providers,
		onWord: (pool, word) => {
			log.info({ pool: pools[pool]!.name, ...word }, "the engine says what it has room for");
			lifecycle.reconfigure(
				{ pools: servingPoolsOf({ pools }, (at) => keeper.wordOf(at).maxContextLength) },
				systemClock.now(),
			);
		},
	});
	metrics.also(() => keeper.metrics());
	metrics.also(() => guardMetrics(guard.status(systemClock.now()), plane.hold?.size ?? 0));
	const ofProcess = processMetrics({
		tokens: lookup.counters,
		snapshot: tokens.snapshot,
		epochNow: systemClock.epochNow,
		journal: () => journal.status(),
		upstreams: () =>
			lifecycleParts.pools.map(({ name }, index) => ({
				provider: name,
				endpoints: engine.core.pools[index]!.endpoints.map((_, endpoint) => providers.healthOf(index, endpoint)),
			})),
		upstreamErrors: function* () {
			for (const [pool, counts] of providers.errors.entries()) {
				for (const [kind, count] of Object.entries(counts))
					yield [lifecycleParts.pools[pool]!.name, kind, count] as const;
			}
		},
	});
	metrics.also(ofProcess.lines);

	const liveConfig =
		source === undefined
			? undefined
			: new LiveConfig(source, lifecycleParts, {
					rereadPolicy: reloadRules,
					useTokens: tokens.useFile,
					applyPlain: (next) => {
						const before = protectionOf(holding);
						holding = next;
						log.level = next.observability.logLevel;
						plane.classifier = classifierOf(next, levels, lookup, headerAudit);
						plane.settings = { ...planeSettingsOf(next, lifecycleParts), engines: plane.settings.engines };
						plane.priceOf = pricesOf(next);
						lifecycle.reconfigure({ aliases: next.models }, systemClock.now());
						const protection = protectionOf(next);
						// Another change of the file leaves what the limits have counted.
						if (!isDeepStrictEqual(protection, before)) lifecycle.reconfigure({ protection }, systemClock.now());
						configureGuard(windows?.keeper.active);
					},
					applyQueues: (compiled) => {
						buckets = compiled.buckets;
						if (compiled.shadow !== undefined) shadow?.comparison.use(compiled.allocator, compiled.shadow);
						const { allocator, router } = compiled;
						lifecycle.reconfigure({ allocator, ...(router === undefined ? {} : { router }) }, systemClock.now());
					},
					applyPools: (next, compiled) => {
						pools = compiled.pools;
						keeper.use(pools);
						plane.settings = { ...plane.settings, engines: planeSettingsOf(next, compiled).engines };
						lifecycle.reconfigure(
							{
								pools: servingPoolsOf(compiled, (at) => keeper.wordOf(at).maxContextLength),
								burstSeconds: next.capacity.burstSeconds,
							},
							systemClock.now(),
						);
					},
					changeCore: (action) => engine.change(action),
				});

	const dataServer = dataPlaneServer(plane, dataTls);
	const adminToken = obtainAdminToken(dataDir, config.admin.tokenEnv, process.env);
	const adminContext: AdminContext = {
		adminToken,
		stores,
		epochNow: systemClock.epochNow,
		quotasEnforced: config.quotas.enabled,
		quotas,
		rates,
		...(shadow === undefined ? {} : { shadow: shadow.comparison }),
		isZone: systemCalendar.isZone,
		zoneOffset: systemCalendar.offset,
		...(config.requestScheduler.allocator !== "bucket" ? { priorityLevels: levels } : {}),
		policyChanged: reloadRules,
		tokenChanged: (hash) => lookup.forget(hash),
		tokensChanged: () => lookup.forgetAll(),
		...(liveConfig === undefined ? {} : { config: liveConfig }),
		capacity: capacityAdminOf({
			guard,
			keeper,
			core: engine.core,
			clock: systemClock,
			activeWindows: () => windows?.keeper.active.windows.map(({ name }) => name) ?? [],
			held: () => plane.hold?.size ?? 0,
			rejected: () => metrics.externalRejected,
		}),
		scheduler: new RunningScheduler({
			plane,
			decisions,
			clock: systemClock,
			timers: systemTimers,
			modeOf: (pool) => (config.requestScheduler.enabled ? pools[pool % pools.length]!.mode : "off"),
			guard,
			engineText: (pool) => (config.requestScheduler.enabled ? engineText(pools[pool % pools.length]!) : undefined),
		}),
		settle: settleLedger,
		onError: (error, operation) => log.error({ error: String(error), operation }, "admin operation failed"),
	};
	const metricsAccess = new AdminAccess(adminToken);
	const admin = adminPlane(
		{
			pages: {
				"/healthz": () => jsonAnswer(200, { status: "ok" }),
				"/readyz": () => {
					const ready = !plane.draining && providers.anyUp;
					return jsonAnswer(ready ? 200 : 503, { ready, draining: plane.draining, upstream: providers.anyUp });
				},
				"/metrics": (request) => {
					if (!mayReadMetrics(holding.admin.metricsPublic, metricsAccess, request)) {
						return refusalAnswer(refuse("missing_token", "/metrics needs the admin token here"));
					}
					const open = wantsOpenMetrics(request.headers.accept);
					const text = metrics.render();
					return open
						? { status: 200, type: OPENMETRICS_TYPE, body: asOpenMetrics(text) }
						: { status: 200, type: PROMETHEUS_TYPE, body: text };
				},
			},
			loadApi: async () => (await import("../http/admin/admin-server.ts")).adminApi(adminContext),
			onError: (error) => log.error({ error: (error as Error).stack }, "the admin API cannot be loaded"),
		},
		adminTls,
	);
	const adminHttp = admin.server;
	const watchers = [
		{ server: dataServer, section: "gateway" as const },
		{ server: adminHttp, section: "admin" as const },
	].map(({ server, section }) =>
		watchTls(server as HttpsServer, config[section], section, systemTimers, (problem) =>
			problem === undefined
				? log.info({ section }, "certificate read again")
				: log.error({ problem }, "the old certificate is kept"),
		),
	);
	await listen(dataServer, config.gateway.listen);
	await listen(adminHttp, config.admin.listen);
	const adminUrl = urlOf(adminHttp, config.admin.listen.host);
	writeAdminUrl(dataDir, adminUrl);
	const up = await providers.discover();
	await keeper.ask();
	const notices = noticesOf(config, up, pools, (pool) => keeper.wordOf(pool));

	let closing: Promise<void> | undefined;
	const shutDown = async () => {
		plane.draining = true;
		keeper.close();
		stopWatching();
		windows?.keeper.close();
		tokens.close();
		for (const stop of watchers) stop();
		await drain(dataServer, plane, holding.gateway.drainTimeoutMs);
		await journal.flushed();
		borrowing?.stop();
		rates.close();
		await quotas.close();
		await alerts.close();
		engine.close();
		await providers.close();
		await ledgerWriter.stop();
		await journal.close();
		removeAdminUrl(dataDir);
		decisions.close();
		await admin.close();
		await headerAudit.flush();
		await stores.close();
		unlock();
		ofProcess.close();
	};
	return {
		dataUrl: urlOf(dataServer, config.gateway.listen.host),
		adminUrl,
		notices,
		tell: (sentence) => log.info(sentence),
		plane,
		stores,
		reload: async (actor) => {
			const result = await liveConfig?.reload();
			if (result?.ok === true) {
				const after = { changed: result.changed, needsRestart: result.needsRestart };
				await stores.audit.record({ actor, action: "config.reload", subject: "config", after });
			}
			return result;
		},
		close: () => {
			closing ??= shutDown();
			return closing;
		},
	};
}

function depthsOf(lifecycle: Lifecycle): readonly number[] {
	return lifecycle.rules.map(({ rule }: { rule: RoutingRule }) => rule.maxQueueDepth ?? Number.POSITIVE_INFINITY);
}
