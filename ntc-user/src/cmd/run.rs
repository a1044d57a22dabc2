//! `ntc run`: the agent in the foreground.

use std::{
    io::{self, IsTerminal as _, Write, stdout},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use ntc_common::flow::FlowRule;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    api::{self, Api, agent::AgentView, listen::Listeners, policy::PolicyState, rate::Rates, state::Shared},
    classify::{Bundle, Model, ModelError},
    cli::{LiveFormat, RunArgs},
    clock::{self, UnixTime},
    event::{Event, InterfaceEvent, ModelEvent, Stats},
    export::Export,
    kernel::{
        attach::{self, requests::Requests},
        load,
        netlink::links::links,
        privileges,
    },
    pipeline::{self, Config, End},
    policy::Policy,
    reload::Reload,
    service,
    shadow::Shadow,
    shape, switch,
};

/// Runs the verb.
///
/// # Errors
/// What kept the agent from starting, or made it give up.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    keep_tables_apart();
    let interfaces = Requests::new(&args.interfaces, &args.capture, &args.enforce)?;
    if !interfaces.captures() {
        bail!("no interface to capture on: give --iface or --capture (`ip link` lists interfaces)");
    }
    // Once more before programs are attached; now, so that a mistake is told before a model is loaded.
    interfaces.check(&links().context("cannot list interfaces")?, args.wait_for_interfaces)?;
    // Root's names and ports, before it is given up.
    let listeners = Listeners::bind(&args.api, &args.pins.pin_dir, args.user.as_deref())?;
    let socket = listeners.socket().map(Path::to_path_buf);
    let entered = privileges::enter(args.user.as_deref(), &args.pins.pin_dir);
    let ended = entered.map_err(Into::into).and_then(|()| agent(args, interfaces, listeners));
    if ended.is_err() {
        if let Some(socket) = socket {
            api::listen::remove(&socket);
        }
        // A directory that was handed over and never used; pins keep it from being removed.
        let _ = std::fs::remove_dir(&args.pins.pin_dir);
    }
    ended
}

/// Tables of flows grow in mappings of their own, where a larger one needs no copy and leaves no hole, and what is free at the
/// heap's end goes back to the kernel. glibc would begin so and then raise both bounds by itself (mallopt(3)), up to 32 MiB:
/// 14 MiB of holes with 64k flows. For this verb alone: the others end soon, and each mapping is paid for page by page.
fn keep_tables_apart() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, 256 * 1024), (libc::M_TRIM_THRESHOLD, 1024 * 1024)] {
        // SAFETY: no other thread was started yet, and the call changes a bound of the allocator, nothing in its memory.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

fn agent(args: &RunArgs, interfaces: Requests, listeners: Listeners) -> anyhow::Result<ExitCode> {
    let policy = Policy::load(args.policy.as_deref(), args.mark_mask)?.dry_run(args.dry_run);
    for warning in &policy.warnings {
        tracing::warn!("policy: {warning}");
    }
    let tried = args.shadow_policy.as_deref();
    let tried = tried.map(|path| Policy::load(Some(path), args.mark_mask)).transpose()?;
    // ONNX Runtime's threads inherit from the one that loads it: nothing.
    let ((models, model), other) = std::thread::scope(|scope| {
        let load = || {
            privileges::renounce();
            let (store, onnxruntime) = (args.model.store.store(), args.model.onnxruntime.clone());
            let bundle = super::bundle(&args.model)?;
            let model = Model::new(&bundle, onnxruntime.as_deref())?;
            let other = args
                .shadow_model
                .as_deref()
                .map(|name| Model::new(&Bundle::load(Some(name), &store)?, onnxruntime.as_deref()));
            Ok::<_, ModelError>((switch::pair(&bundle, model, store, onnxruntime), other.transpose()?))
        };
        scope.spawn(load).join()
    })
    .map_err(|_| anyhow::anyhow!("loading the model failed"))??;
    let shadow = Shadow { policy: tried, model: other };
    let _queues = Queues::set_up(args, &policy)?;
    let second = 1_000_000_000;
    let config = Config {
        interfaces,
        kernel: load::Settings {
            rule: FlowRule {
                tcp_idle_ns: args.tcp_idle * second,
                udp_idle_ns: args.udp_idle * second,
                ..FlowRule::DEFAULT
            },
            max_flows: args.max_flows,
            ring_bytes: args.ring_bytes,
            shadow: shadow.flags(),
        },
        attach: attach::Options {
            hook: args.hook,
            tc: args.tc,
            may_come_later: args.wait_for_interfaces,
            stay: args.stay,
            pin_dir: args.pins.pin_dir.clone(),
        },
        pause: Duration::from_millis(args.pause_ms),
        replace_pins: args.replace_pins,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(privileges::renounce)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let duration = args.duration.map(Duration::from_secs);
    let mut printer = Printer::start(args.format)?;
    let reload = Arc::new(Reload::new(std::env::args_os().collect(), models, &policy)?);
    let api = start_api(args, listeners, &reload, &config, PolicyState::new(policy.clone()))?;
    runtime.block_on(async {
        // Before anything is attached: from here on a signal is an orderly end.
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (hangup, mut hand_over) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined2())?);
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => End::Whole,
                _ = terminate.recv() => End::Whole,
                _ = hand_over.recv() => End::HandOver,
                () = follow(reload, hangup) => End::Whole,
                () = sleep(duration) => End::Whole,
            }
        };
        pipeline::run(config, &policy, model, shadow, stop, |event| {
            service::tell(&event);
            if let Some(api) = &api {
                api.publish(&event);
            }
            printer.print(event);
        })
        .await?;
        anyhow::Ok(())
    })?;
    if let Some(api) = api {
        api.stop();
    }
    printer.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Queues that go with the agent.
struct Queues<'a>(Vec<&'a str>);

impl<'a> Queues<'a> {
    fn set_up(args: &'a RunArgs, policy: &Policy) -> anyhow::Result<Self> {
        let mut queues = Self(Vec::new());
        for (interface, rate) in &args.shape {
            shape::plan(interface, shape::kind(args.cake), *rate, &policy.table)?.apply(false)?;
            queues.0.push(interface);
        }
        Ok(queues)
    }
}

impl Drop for Queues<'_> {
    fn drop(&mut self) {
        for interface in &self.0 {
            if let Err(error) = shape::remove(interface) {
                tracing::error!(%error, "the queues stay; `ntc qdisc remove` takes them away");
            }
        }
    }
}

/// The API, if it listens anywhere or sends anything.
fn start_api(
    args: &RunArgs,
    listeners: Listeners,
    reload: &Arc<Reload>,
    config: &Config,
    policy: PolicyState,
) -> anyhow::Result<Option<Api>> {
    if listeners.is_empty() && args.export.is_empty() {
        return Ok(None);
    }
    let started_ts_ns = UnixTime::now().of(clock::monotonic_ns());
    let agent = AgentView {
        version: env!("CARGO_PKG_VERSION").into(),
        instance: format!("{started_ts_ns:x}"),
        started_ts_ns,
        ready: false,
        dry_run: args.dry_run,
        pin_dir: args.pins.pin_dir.display().to_string(),
        interfaces: Vec::new(),
    };
    tracing::info!(places = ?listeners.places(), "the API listens");
    let (tokens, rates) = (listeners.tokens.clone(), Rates::new(args.api.api_rate));
    let exports = args.export.iter().map(|address| Arc::new(Export::new(address.clone()))).collect();
    let shared = Shared::new(agent, Arc::clone(reload), policy, tokens, rates, exports);
    Ok(Some(Api::start(listeners, shared, args.pins.pin_dir.clone(), config.kernel.rule)?))
}

/// Lines wait here for a slow terminal or pipe; beyond, they are dropped and counted: the agent never waits.
const LINES: usize = 16_384;
/// At the end a reader that has stopped reading is given so long.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Writes events to stdout, on a thread of its own.
struct Printer {
    events: SyncSender<Event>,
    outcome: Receiver<io::Result<()>>,
    dropped: u64,
}

impl Printer {
    fn start(format: LiveFormat) -> anyhow::Result<Self> {
        let (events, queue) = sync_channel::<Event>(LINES);
        let (result, outcome) = sync_channel(1);
        std::thread::Builder::new()
            .name("print".into())
            .spawn(move || {
                privileges::renounce();
                let printed = queue.iter().try_for_each(|event| print(format, &event));
                // Nobody waits any more: the agent has ended.
                let _ = result.send(printed);
            })
            .context("cannot start a thread")?;
        Ok(Self { events, outcome, dropped: 0 })
    }

    fn print(&mut self, event: Event) {
        self.dropped += u64::from(matches!(self.events.try_send(event), Err(TrySendError::Full(_))));
    }

    /// Waits for the last lines. A reader that went away (`ntc run | head`) is no failure; a full disk is.
    fn finish(self) -> anyhow::Result<()> {
        let Self { events, outcome, dropped } = self;
        drop(events);
        if dropped > 0 {
            eprintln!("ntc: {dropped} lines were not printed: who reads stdout is too slow");
        }
        match outcome.recv_timeout(LAST_LINES) {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write to stdout")
            }
            _ => Ok(()),
        }
    }
}

/// Each SIGHUP asks for a look at the configuration and at what `ntc model use` chose. Ends where the terminal is gone:
/// then it means that as well.
async fn follow(reload: Arc<Reload>, mut hangup: Signal) {
    let on_terminal = io::stdin().is_terminal();
    while hangup.recv().await.is_some() {
        if on_terminal && !io::stdin().is_terminal() {
            return;
        }
        let reload = Arc::clone(&reload);
        // What came of it is in the log.
        let _ = tokio::task::spawn_blocking(move || reload.again()).await;
    }
    std::future::pending::<()>().await;
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn print(format: LiveFormat, event: &Event) -> io::Result<()> {
    let mut out = stdout().lock();
    if format == LiveFormat::Json {
        serde_json::to_writer(&mut out, event)?;
        return writeln!(out);
    }
    match event {
        Event::Ready(ready) => {
            writeln!(out, "ntc: {} on {}", ready.model, ready.interfaces.join(", "))?;
            for hook in &ready.hooks {
                writeln!(out, "ntc: {}: {}", hook.interface, hook.why)?;
            }
            writeln!(out, "ntc: maps are pinned in {}; stop with Ctrl-C", ready.pin_dir)
        }
        Event::Label(label) => writeln!(
            out,
            "{:<4} {:>43} > {:<43} {:<20} {:<12} {:>4.2} {:>2} packets {:>9.1} ms {}",
            label.flow.protocol(),
            label.flow.source().to_string(),
            label.flow.destination().to_string(),
            label.service,
            label.class,
            label.confidence,
            label.packets,
            label.age_us as f64 / 1000.0,
            label.stage
        ),
        Event::Interface(InterfaceEvent { interface, change, program, why, .. }) => match program {
            Some(program) => writeln!(out, "ntc: {interface}: {program} is {change}: {why}"),
            None => writeln!(out, "ntc: {interface} {change}: {why}"),
        },
        Event::Model(ModelEvent { change, model, epoch, why }) => {
            writeln!(out, "ntc: model {change}: {why}; {model} answers, epoch {epoch}")
        }
        Event::Stats(_) => Ok(()),
        Event::Summary(stats) => summary(&mut out, stats),
    }
}

fn summary(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    let Stats { flows, labelled, ledger, decided_us, .. } = stats;
    writeln!(out, "ntc: {flows} flows, {labelled} labelled")?;
    writeln!(
        out,
        "ntc: {} packets seen = {} recorded + {} gated + {} of no flow + {} dropped{}",
        ledger.seen,
        ledger.recorded,
        ledger.gated,
        ledger.not_flow,
        ledger.dropped,
        if ledger.closes { "" } else { " (the sums do not close)" }
    )?;
    writeln!(
        out,
        "ntc: deciding packet to label: p50 {} us, p99 {} us of {}",
        decided_us.p50, decided_us.p99, decided_us.count
    )
}
