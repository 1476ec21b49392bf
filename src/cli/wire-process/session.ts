/** One life of the wire process, from the node's side: tells it what it serves, and hears what it says. */
import type { ChildProcess } from "node:child_process";
import type { Logger } from "pino";
import { errorText } from "../../model/errors.ts";
import type { Playbook } from "../../model/playbook.ts";
import { FIRST_INCARNATION } from "../../model/scheduled-event.ts";
import type {
  TraceBatch,
  WireArtifacts,
  WireAttester,
  WireEventList,
  WireVault,
} from "../../wireserver/index.ts";
import { PENDING_MAX, REPORTS_PENDING_MAX } from "./child-link.ts";
import { handListener } from "./hand-listener.ts";
import { type GuestReport, type News, NewsSchema, type Order, type Question } from "./messages.ts";
import type { ServedVnet } from "./served-vnet.ts";

const PING_MS = 2_000;
/** Unanswered for so long, it is stuck: it is killed, and started again. */
const SILENCE_MS = 15_000;
/** Orders that it has not taken off the channel: it is killed then, or this process would grow. */
const UNWRITTEN_MAX = 65_536;
/** More than its guests can cause, who are limited in what they may ask. */
const NEWS_PER_PING_MAX = 200_000;
const CLOSE_MS = 2_000;
/** A disk that is full is not asked more often. */
const TRACE_AGAIN_MS = 5_000;

const NO_EVENTS: WireEventList = { incarnation: FIRST_INCARNATION, events: [] };

/** What all lives of it have in common. */
export interface SessionContext {
  readonly vnets: ReadonlyMap<number, ServedVnet>;
  readonly faults: ReadonlyMap<string, Playbook>;
  /** Takes lines of the trace; false: they are lost. */
  readonly takeTrace: (batch: TraceBatch) => boolean;
  readonly vault: WireVault;
  readonly attester: WireAttester;
  readonly artifacts: WireArtifacts;
  /** Says whether a line about guests may still be written. */
  readonly mayLog: () => boolean;
  readonly log: Logger;
}

/** See the file's comment. */
export class Session {
  readonly #child: ChildProcess;
  readonly #context: SessionContext;
  /** Reports that are not kept yet, by VNET and container. */
  readonly #reports = new Map<string, number>();
  readonly #closing = new Map<number, () => void>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #ping: NodeJS.Timeout;
  #handing: Promise<void> = Promise.resolve();
  #took: (() => void) | undefined;
  #questions = 0;
  #unwritten = 0;
  #news = 0;
  #heardMs = performance.now();
  #traceBegunMs = Number.NEGATIVE_INFINITY;

  constructor(child: ChildProcess, context: SessionContext) {
    this.#child = child;
    this.#context = context;
    child.on("message", (message) => this.#onMessage(message));
    child.on("error", (err) => context.log.error({ err }, "the wire process cannot be started"));
    child.on("exit", () => this.#end());
    child.on("error", () => this.#end());
    this.#ping = setInterval(() => this.#look(), PING_MS);
    this.#ready.promise.catch(() => undefined);
    void this.ready.then(() => this.#begin()).catch(() => undefined);
  }

  /** Resolves when it takes orders; rejects if it ends before. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Resolves when the process is gone. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Tells it something of a VNET that it serves. */
  send(order: Order): void {
    if (!this.#child.connected) return;
    this.#unwritten += 1;
    if (this.#unwritten > UNWRITTEN_MAX) {
      this.#kill("it does not take what it is told");
      return;
    }
    this.#child.send(order, () => {
      this.#unwritten -= 1;
    });
  }

  /** Has it serve a VNET; whoever connects meanwhile waits. */
  open(vnet: ServedVnet): void {
    for (const order of vnet.orders()) this.send(order);
    this.#handing = this.#handing
      .then(() => this.#handAll(vnet))
      .catch((error: unknown) => {
        this.#kill(`it could not be given a socket: ${errorText(error)}`);
      });
  }

  setFault(container: string, playbook: Playbook | undefined): void {
    this.send({ kind: "fault", container, ...(playbook !== undefined && { playbook }) });
  }

  /** Resolves when it has let go of a VNET's sockets. */
  async close(vnet: number): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#closing.set(vnet, closed.resolve);
    const late = setTimeout(() => this.#kill("it does not close its sockets"), CLOSE_MS);
    await this.#handing;
    this.send({ kind: "close", vnet });
    await Promise.race([closed.promise, this.ended]);
    clearTimeout(late);
    this.#closing.delete(vnet);
  }

  /** Ends it. */
  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const late = setTimeout(() => this.#child.kill("SIGKILL"), CLOSE_MS);
    await this.ended;
    clearTimeout(late);
  }

  #begin(): void {
    for (const [container, playbook] of this.#context.faults) this.setFault(container, playbook);
    for (const vnet of this.#context.vnets.values()) this.open(vnet);
  }

  /** One after another: only then is a server sent in the turn in which it begins to listen. */
  async #handAll({ id: vnet, listeners }: ServedVnet): Promise<void> {
    for (const { service, fd } of listeners) {
      if (!this.#context.vnets.has(vnet) || !this.#child.connected) return;
      const took = new Promise<void>((resolve) => {
        this.#took = resolve;
      });
      const listen: Order = { kind: "listen", vnet, service };
      await handListener(this.#child, fd, listen, { ...listen, kind: "connection" });
      await Promise.race([took, this.ended]);
    }
  }

  #end(): void {
    clearInterval(this.#ping);
    this.#ready.reject(new Error("the wire process ended"));
    this.#ended.resolve();
  }

  #kill(reason: string): void {
    this.#context.log.error({ pid: this.#child.pid, reason }, "the wire process is killed");
    this.#child.kill("SIGKILL");
  }

  #look(): void {
    this.#news = 0;
    if (performance.now() - this.#heardMs > SILENCE_MS) this.#kill("it does not answer");
    else this.send({ kind: "ping" });
  }

  #onMessage(message: unknown): void {
    this.#news += 1;
    if (this.#news > NEWS_PER_PING_MAX) {
      if (this.#news === NEWS_PER_PING_MAX + 1) this.#kill("it says too much");
      return;
    }
    const read = NewsSchema.safeParse(message);
    if (read.success) {
      this.#onNews(read.data);
      return;
    }
    if (!this.#context.mayLog()) return;
    const [issue] = read.error.issues;
    this.#context.log.error({ issue }, "the wire process said what is not understood");
  }

  #onNews(news: News): void {
    const { vnets, mayLog } = this.#context;
    switch (news.kind) {
      case "ready":
        this.#ready.resolve();
        break;
      case "took":
        this.#took?.();
        break;
      case "closed":
        this.#closing.get(news.vnet)?.();
        break;
      case "pong":
        this.#heardMs = performance.now();
        break;
      case "contacts":
        this.#onContacts(news);
        break;
      case "report":
        void this.#onReport(news);
        break;
      case "question":
        void this.#onQuestion(news);
        break;
      case "trace":
        this.#onTrace(news);
        break;
      case "refused":
        if (mayLog()) vnets.get(news.vnet)?.observer.refused(news.address, news.reason);
        break;
      default:
        throw news satisfies never;
    }
  }

  /** Lines that name what was lost say nothing. */
  #onTrace(batch: TraceBatch): void {
    if (this.#context.takeTrace(batch)) return;
    const nowMs = performance.now();
    if (nowMs - this.#traceBegunMs < TRACE_AGAIN_MS) return;
    this.#traceBegunMs = nowMs;
    this.send({ kind: "beginTrace" });
  }

  #onContacts({ vnet: id, contacts }: Extract<News, { readonly kind: "contacts" }>): void {
    const vnet = this.#context.vnets.get(id);
    if (vnet === undefined) return; // it was closed meanwhile
    for (const { container: name, kind, incarnation } of contacts) {
      const container = vnet.find(name);
      if (container === undefined) continue;
      vnet.observer.contact(container, {
        kind,
        ...(incarnation !== undefined && { incarnation }),
      });
    }
  }

  async #onReport(news: Extract<News, { readonly kind: "report" }>): Promise<void> {
    const { id, container, report } = news;
    const key = `${news.vnet} ${container}`;
    const pending = this.#reports.get(key) ?? 0;
    if (pending >= REPORTS_PENDING_MAX) return this.#fail(id, "too many reports");
    this.#reports.set(key, pending + 1);
    try {
      const vnet = this.#context.vnets.get(news.vnet);
      const reporter = vnet?.find(container);
      if (vnet === undefined || reporter === undefined) return this.#fail(id, "no such container");
      await keep(vnet, reporter, report);
      this.send({ kind: "answer", id });
    } catch (err) {
      if (this.#context.mayLog()) this.#context.log.warn({ err, container }, "report not kept");
      this.#fail(id, "not kept");
    } finally {
      const left = (this.#reports.get(key) ?? 1) - 1;
      if (left === 0) this.#reports.delete(key);
      else this.#reports.set(key, left);
    }
  }

  async #onQuestion({ id, question }: Extract<News, { readonly kind: "question" }>): Promise<void> {
    if (this.#questions >= PENDING_MAX) return this.#fail(id, "too many questions");
    this.#questions += 1;
    try {
      this.send({ kind: "answer", id, value: await this.#answer(question) });
    } catch (err) {
      if (this.#context.mayLog()) this.#context.log.warn({ err }, "the wire process has no answer");
      this.#fail(id, "there is no answer");
    } finally {
      this.#questions -= 1;
    }
  }

  /** It is told what its own containers may know, and nothing of others. */
  async #answer(question: Question): Promise<unknown> {
    const { vnets, vault, attester, artifacts } = this.#context;
    if (question.type === "artifact") {
      const { sha256, offset, length } = question;
      const isOurs = [...vnets.values()].some((vnet) => vnet.hasArtifact(sha256));
      if (!isOurs) throw new Error("no container has this artifact");
      return artifacts.read(sha256, offset, length);
    }
    const vnet = vnets.get(question.vnet);
    const name = vnet?.find(question.container)?.name;
    if (vnet === undefined || name === undefined) throw new Error("no such container");
    if (question.type === "identity") return vault.identityOf(name);
    if (question.type === "attestation") return attester.attest(name, question.question);
    if (question.type === "events") return (await vnet.events?.list(name)) ?? NO_EVENTS;
    return vnet.events?.approve(name, question.ids) ?? false;
  }

  #fail(id: number, failure: string): void {
    this.send({ kind: "answer", id, failure });
  }
}

function keep(
  { observer }: ServedVnet,
  container: NonNullable<ReturnType<ServedVnet["find"]>>,
  report: GuestReport,
): Promise<void> {
  switch (report.type) {
    case "health":
      return observer.health(container, report.report);
    case "agentStatus":
      return observer.agentStatus?.(container, report.status) ?? Promise.resolve();
    case "roleProperties":
      return observer.roleProperties(container, report.properties);
    default:
      throw report satisfies never;
  }
}
