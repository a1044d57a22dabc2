//! What can be typed.

mod config;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ntc_common::limits::SEQUENCE_LENGTH;

pub use self::config::{ConfigAction, ConfigCheckArgs, ConfigShowArgs};
use crate::{
    classify::Store,
    evaluate::Level,
    export,
    kernel::{
        attach::{capture, tc},
        pins,
    },
    logs::LogFormat,
    output::text::Format,
    shape::Rate,
};

/// Tells what every flow is, from packet headers alone, and makes the kernel act on it.
#[derive(Debug, Parser)]
#[command(name = "ntc", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it failed, stderr says why; 2 wrong usage; \
3 done, but some capture files could not be read to their end.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the agent: capture on interfaces, label flows, enforce the policy, until SIGINT or SIGTERM
    Run(Box<RunArgs>),
    /// Check the configuration file, or show what counts and who said so
    Config {
        /// What to do with it.
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Label the flows of capture files; needs no privileges
    Classify(ClassifyArgs),
    /// Judge a model's answers to captures with labelled flows; needs no privileges
    Eval(EvalArgs),
    /// Write the packet sequences of capture files as Parquet, for training; needs no privileges
    Extract(ExtractArgs),
    /// Show, check and change the model that answers, also of a running agent
    Model(ModelVerbArgs),
    /// Show the labelled flows of a running agent, or of one that died
    Flows(FlowsArgs),
    /// Show where packets went: ledger, enforcement, classes
    Stats(StatsArgs),
    /// Check a policy file, show what a policy does and why, apply one to the running agent
    Policy {
        /// What to do with it.
        #[command(subcommand)]
        action: PolicyAction,
    },
    /// Queues that fit the policy: plan them, set them up, take them away again
    Qdisc {
        /// What to do with them.
        #[command(subcommand)]
        action: QdiscAction,
    },
    /// Watch flows, services, classes and the agent itself, live in the terminal
    Top(TopArgs),
    /// Examine this machine: kernel, privileges, hooks, offloads, queues, model, pins; says what to do
    Doctor(DoctorArgs),
    /// Remove what an agent left behind: programs that were told to stay, pinned maps
    Detach(DetachArgs),
    /// Write man pages, shell completions, the configuration file and the reference, for packages
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// Where ntc's maps are pinned.
#[derive(Args, Debug)]
pub struct PinArgs {
    /// Directory on bpffs for ntc's maps
    #[arg(long, env = "NTC_PIN_DIR", value_name = "DIR", default_value_os_t = pins::default_directory())]
    pub pin_dir: PathBuf,
}

/// Where bundles are.
#[derive(Args, Debug)]
pub struct StoreArgs {
    /// Folder of bundles, where names are looked up and `ntc model use` writes its choice; otherwise
    /// /var/lib/ntc/models, models/ beside the binary or in its checkout, /usr/lib/ntc/models
    #[arg(long, env = "NTC_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,
}

impl StoreArgs {
    /// These folders.
    pub fn store(&self) -> Store {
        Store::new(self.models.as_deref())
    }
}

/// Which model answers.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// Name of a model bundle, or its folder (a path with a slash); otherwise what `ntc model use` chose, or the
    /// built-in one
    #[arg(long, env = "NTC_MODEL", value_name = "NAME")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    /// Where names are looked up.
    pub store: StoreArgs,
    /// ONNX Runtime's shared library; otherwise ORT_DYLIB_PATH, beside the binary, /usr/lib/ntc, the loader's path
    #[arg(long, env = "NTC_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
}

/// `ntc run`
#[derive(Args, Debug)]
#[command(after_help = "Example, on a router whose inside is br0 and outside eth0:\n  \
    ntc run --iface br0 --iface eth0\nBehind NAT capture inside only, enforce on both sides:\n  \
    ntc run --capture br0 --enforce br0 --enforce eth0")]
pub struct RunArgs {
    /// Take options from this TOML file, by their long names; flags and environment variables come before it
    #[arg(long, env = "NTC_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Interface to capture and enforce on, by name or pattern ('ppp*'); may be repeated
    #[arg(long = "iface", env = "NTC_IFACE", value_name = "IF", value_delimiter = ',')]
    pub interfaces: Vec<String>,
    /// Interface to capture on, by name or pattern; may be repeated
    #[arg(long, env = "NTC_CAPTURE", value_name = "IF", value_delimiter = ',')]
    pub capture: Vec<String>,
    /// Interface to enforce on, by name or pattern; may be repeated
    #[arg(long, env = "NTC_ENFORCE", value_name = "IF", value_delimiter = ',')]
    pub enforce: Vec<String>,
    /// Interfaces that are named need not be there yet; those of a pattern never need to
    #[arg(long, env = "NTC_WAIT_FOR_INTERFACES")]
    pub wait_for_interfaces: bool,
    /// Where to capture packets that come in
    #[arg(long, env = "NTC_HOOK", value_enum, default_value_t = capture::Choice::Auto)]
    pub hook: capture::Choice,
    /// How programs at tc are attached
    #[arg(long, env = "NTC_TC", value_enum, default_value_t = tc::Choice::Auto)]
    pub tc: tc::Choice,
    /// Policy file (TOML); the built-in one otherwise
    #[arg(long, env = "NTC_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Set queues that fit the policy up on an interface while the agent lives, as `ntc qdisc apply` does; may be repeated
    #[arg(long, env = "NTC_SHAPE", value_name = "IF=RATE", value_delimiter = ',', value_parser = shape)]
    pub shape: Vec<(String, Rate)>,
    /// --shape sets up CAKE (diffserv4), which sorts by the policy's code points, in place of HTB
    #[arg(long, env = "NTC_CAKE", requires = "shape")]
    pub cake: bool,
    /// Label flows, count what the policy would do, and leave all packets alone
    #[arg(long, env = "NTC_DRY_RUN")]
    pub dry_run: bool,
    /// Count what this policy would do with packets inside, beside what is done (`ntc stats`)
    #[arg(long, env = "NTC_SHADOW_POLICY", value_name = "FILE")]
    pub shadow_policy: Option<PathBuf>,
    /// Count what this model's labels would do, beside what is done; it answers each question a second time
    #[arg(long, env = "NTC_SHADOW_MODEL", value_name = "NAME")]
    pub shadow_model: Option<PathBuf>,
    /// Leave programs attached and maps pinned at the end (labels do not count without an agent)
    #[arg(long, env = "NTC_STAY")]
    pub stay: bool,
    /// Where maps that another agent left do not fit (their sizes, or another version), begin anew with maps of one's own
    #[arg(long, env = "NTC_REPLACE_PINS")]
    pub replace_pins: bool,
    /// Live flows that the tables hold
    #[arg(long, env = "NTC_MAX_FLOWS", value_name = "N", default_value_t = ntc_common::limits::DEFAULT_MAX_FLOWS, value_parser = clap::value_parser!(u32).range(64..=16_777_216))]
    pub max_flows: u32,
    /// Bytes of the ring between kernel and agent, a power of two from 4096
    #[arg(long, env = "NTC_RING_BYTES", value_name = "N", default_value_t = ntc_common::limits::DEFAULT_RING_BYTES, value_parser = ring_bytes)]
    pub ring_bytes: u32,
    /// Answer early when a flow pauses for so many milliseconds
    #[arg(long, env = "NTC_PAUSE_MS", value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub pause_ms: u64,
    /// A TCP flow ends after so many seconds without a packet
    #[arg(long, env = "NTC_TCP_IDLE", value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub tcp_idle: u64,
    /// A UDP flow ends after so many seconds without a packet
    #[arg(long, env = "NTC_UDP_IDLE", value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub udp_idle: u64,
    /// Bits of skb->mark that are ntc's
    #[arg(long, env = "NTC_MARK_MASK", value_name = "MASK", default_value = "0x00ff0000", value_parser = mark_mask)]
    pub mark_mask: u32,
    /// Started as root, change to this user; the capabilities that ntc needs are kept
    #[arg(long, env = "NTC_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// End by itself after so many seconds
    #[arg(long, env = "NTC_DURATION", value_name = "S")]
    pub duration: Option<u64>,
    /// Lines for people, or JSON
    #[arg(long, env = "NTC_FORMAT", value_enum, default_value_t = LiveFormat::Table)]
    pub format: LiveFormat,
    /// Form of the log, on stderr; NTC_LOG says what is written (`warn` otherwise)
    #[arg(long, env = "NTC_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// Say more; in a debug build also what each packet came to (aya-log)
    #[arg(short, long, env = "NTC_VERBOSE")]
    pub verbose: bool,
    /// Send what becomes of labels to an IPFIX collector (ipfix+udp://HOST, ipfix+tcp://HOST), a NATS broker
    /// (nats://HOST) or a file of JSON lines (file:///PATH); docs/export.md has the options; may be repeated
    #[arg(long, env = "NTC_EXPORT", value_name = "URL", value_delimiter = ',')]
    pub export: Vec<export::Address>,
    #[command(flatten)]
    /// Where programs and people can ask.
    pub api: ApiArgs,
    #[command(flatten)]
    /// Which model answers.
    pub model: ModelArgs,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// Where the agent can be asked, and by whom.
#[derive(Args, Debug)]
#[command(next_help_heading = "Query interface")]
pub struct ApiArgs {
    /// Unix socket; otherwise one in /run/ntc that is named after the pin directory
    #[arg(long, env = "NTC_API_SOCKET", value_name = "FILE")]
    pub api_socket: Option<PathBuf>,
    /// Mode of the socket: who may connect may look; root and the agent's user may change the policy, too
    #[arg(long, env = "NTC_API_SOCKET_MODE", value_name = "MODE", default_value = "660", value_parser = file_mode)]
    pub api_socket_mode: u32,
    /// No Unix socket
    #[arg(long, env = "NTC_NO_API_SOCKET", conflicts_with = "api_socket")]
    pub no_api_socket: bool,
    /// Also on this address, with the page for people; beyond loopback only with TLS and tokens; may be repeated
    #[arg(long, env = "NTC_API_LISTEN", value_name = "IP:PORT", value_delimiter = ',')]
    pub api_listen: Vec<SocketAddr>,
    /// Certificate chain (PEM)
    #[arg(long, env = "NTC_API_TLS_CERT", value_name = "FILE", requires = "api_tls_key")]
    pub api_tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "NTC_API_TLS_KEY", value_name = "FILE", requires = "api_tls_cert")]
    pub api_tls_key: Option<PathBuf>,
    /// Lines of `read TOKEN` or `write TOKEN`; not readable for everybody
    #[arg(long, env = "NTC_API_TOKENS", value_name = "FILE")]
    pub api_tokens: Option<PathBuf>,
    /// Requests a second from one address by TCP; twice as many at once
    #[arg(long, env = "NTC_API_RATE", value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub api_rate: u32,
}

/// Formats of live output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LiveFormat {
    /// For people.
    Table,
    /// JSON lines.
    Json,
}

/// Which packets make a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlowRuleName {
    /// As live: FIN, RST and idle time-outs end flows
    Default,
    /// As the labelled captures were cut: 120 s without a packet, nothing else
    Corpus,
}

/// `ntc classify`
#[derive(Args, Debug)]
pub struct ClassifyArgs {
    /// pcap or pcapng files, also .gz and .zst, folders of them, or - for stdin
    #[arg(required = true, value_name = "FILE")]
    pub captures: Vec<PathBuf>,
    /// What to write
    #[arg(long, env = "NTC_FORMAT", value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Where to write; stdout otherwise
    #[arg(short, long, env = "NTC_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which packets make a flow
    #[arg(long, env = "NTC_FLOW_RULE", value_enum, default_value_t = FlowRuleName::Default)]
    pub flow_rule: FlowRuleName,
    #[command(flatten)]
    /// Which model answers.
    pub model: ModelArgs,
}

/// `ntc eval`
#[derive(Args, Debug)]
#[command(
    after_help = "Labels: a CSV file, plain or .zst, with the columns capture (file name), src_ip, dst_ip, src_port, \
    dst_port, proto, first_ts_us, label (nDPI's full name), and perhaps master, category, rank and repo.\n\n\
    Answers are judged however unsure; a flow whose label the model does not know counts as wrong. Off-port flows are \
    known ones of which the port table (models/port-table.csv) is wrong or silent.\n\n\
    Example: ntc eval --captures pcap --labels labels.csv --level protocol --json figures.json"
)]
pub struct EvalArgs {
    /// Folder of captures, or files; may be repeated
    #[arg(long, env = "NTC_CAPTURES", value_name = "DIR", required = true, num_args = 1..)]
    pub captures: Vec<PathBuf>,
    /// What each flow is
    #[arg(long, env = "NTC_LABELS", value_name = "CSV")]
    pub labels: PathBuf,
    /// What is judged
    #[arg(long, env = "NTC_LEVEL", value_enum)]
    pub level: Level,
    /// Leave out flows with a higher rank among those of one label in one capture: near-copies
    #[arg(long, env = "NTC_MAX_RANK", value_name = "N", default_value_t = 300)]
    pub max_rank: u64,
    /// Show the model so many packets of a flow at most
    #[arg(long, env = "NTC_PACKETS", value_name = "N", default_value_t = SEQUENCE_LENGTH, value_parser = packets)]
    pub packets: usize,
    /// Show the model 0 in place of all ports
    #[arg(long, env = "NTC_NO_PORTS")]
    pub no_ports: bool,
    /// Write the figures as one JSON object, too
    #[arg(long, env = "NTC_JSON_FILE", value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Which packets make a flow: as the labels were made
    #[arg(long, env = "NTC_FLOW_RULE", value_enum, default_value_t = FlowRuleName::Corpus)]
    pub flow_rule: FlowRuleName,
    #[command(flatten)]
    /// Which model answers.
    pub model: ModelArgs,
}

fn packets(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=SEQUENCE_LENGTH).contains(count));
    count.ok_or_else(|| format!("{text:?} is no number from 1 to {SEQUENCE_LENGTH}"))
}

/// `ntc extract`
#[derive(Args, Debug)]
pub struct ExtractArgs {
    /// pcap or pcapng files, also .gz and .zst, folders of them, or - for stdin
    #[arg(required = true, value_name = "FILE")]
    pub captures: Vec<PathBuf>,
    /// Parquet file to write
    #[arg(short, long, env = "NTC_OUTPUT", value_name = "FILE")]
    pub output: PathBuf,
    /// Which packets make a flow
    #[arg(long, env = "NTC_FLOW_RULE", value_enum, default_value_t = FlowRuleName::Default)]
    pub flow_rule: FlowRuleName,
}

/// `ntc model`
#[derive(Args, Debug)]
pub struct ModelVerbArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ModelAction,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelAction {
    /// The bundles that are there, and which one answers
    List {
        #[command(flatten)]
        /// Where bundles are.
        store: StoreArgs,
        /// Lines for people, or JSON
        #[arg(long, env = "NTC_FORMAT", value_enum, default_value_t = LiveFormat::Table)]
        format: LiveFormat,
    },
    /// What a bundle is, how it was trained and how good it was
    Show {
        /// Its name or folder; otherwise the one that answers
        name: Option<PathBuf>,
        #[command(flatten)]
        /// Where bundles are.
        store: StoreArgs,
        /// Lines for people, or JSON: the whole manifest
        #[arg(long, env = "NTC_FORMAT", value_enum, default_value_t = LiveFormat::Table)]
        format: LiveFormat,
    },
    /// Check a bundle: schema, digests, labels, and its answers to its test vectors
    Verify {
        /// Its name or folder; otherwise the one that answers
        name: Option<PathBuf>,
        #[command(flatten)]
        /// Where bundles are.
        store: StoreArgs,
        /// ONNX Runtime's shared library, as for `ntc run`
        #[arg(long, env = "NTC_ONNXRUNTIME", value_name = "FILE")]
        onnxruntime: Option<PathBuf>,
    },
    /// Check a bundle and let it answer from now on: in the running agent, and in those that start without --model
    Use {
        /// Its name or folder
        #[arg(required_unless_present = "previous", conflicts_with = "previous")]
        name: Option<PathBuf>,
        /// The one that was chosen before
        #[arg(long)]
        previous: bool,
        #[command(flatten)]
        /// Where bundles are.
        store: StoreArgs,
        /// ONNX Runtime's shared library, as for `ntc run`
        #[arg(long, env = "NTC_ONNXRUNTIME", value_name = "FILE")]
        onnxruntime: Option<PathBuf>,
        #[command(flatten)]
        /// Where maps of the agent are pinned.
        pins: PinArgs,
    },
}

/// `ntc flows`
#[derive(Args, Debug)]
#[command(
    after_help = "A flow is shown if all that is given holds. STAGE provisional: more packets may change the label.\n\n\
    Examples:\n  ntc flows --class realtime --watch\n  ntc flows --address 192.0.2.10 --format json"
)]
pub struct FlowsArgs {
    /// Only this service or protocol, by nDPI's name
    #[arg(long, env = "NTC_SERVICE", value_name = "NAME")]
    pub service: Option<String>,
    /// Only this QoS class
    #[arg(long, env = "NTC_CLASS", value_name = "CLASS")]
    pub class: Option<String>,
    /// Only flows with this address at either end
    #[arg(long, env = "NTC_ADDRESS", value_name = "IP")]
    pub address: Option<IpAddr>,
    /// Only flows with this port at either end
    #[arg(long, env = "NTC_PORT", value_name = "PORT")]
    pub port: Option<u16>,
    /// Only flows whose first packet was seen on this interface
    #[arg(long, env = "NTC_INTERFACE", value_name = "IF")]
    pub interface: Option<String>,
    /// Again every so many seconds, until interrupted
    #[arg(long, env = "NTC_WATCH", value_name = "S", num_args = 0..=1, default_missing_value = "1")]
    pub watch: Option<u64>,
    /// Lines for people, or JSON
    #[arg(long, env = "NTC_FORMAT", value_enum, default_value_t = LiveFormat::Table)]
    pub format: LiveFormat,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc stats`
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Lines for people, or JSON
    #[arg(long, env = "NTC_FORMAT", value_enum, default_value_t = LiveFormat::Table)]
    pub format: LiveFormat,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc policy`
#[derive(Debug, Subcommand)]
pub enum PolicyAction {
    /// Tell every mistake in a policy file, by line and field; needs no privileges. Exit code 1 if there is one
    Check(PolicyCheckArgs),
    /// Tell what would happen to a service or a flow, and why; without one, print the policy that counts
    Show(PolicyShowArgs),
    /// Put a policy in place of the one that counts, between two packets; a file with mistakes changes nothing
    Apply(PolicyApplyArgs),
    /// Print the JSON Schema of policy files
    Schema,
    /// Print an nft ruleset that saves ntc's mark to the connection's, and gives it to packets that come back
    Nft(PolicyNftArgs),
}

/// `ntc policy check`
#[derive(Args, Debug)]
pub struct PolicyCheckArgs {
    /// The policy file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Bits of skb->mark that are ntc's
    #[arg(long, env = "NTC_MARK_MASK", value_name = "MASK", default_value = "0x00ff0000", value_parser = mark_mask)]
    pub mark_mask: u32,
    /// One JSON object: file, usable, mistakes, warnings, digest
    #[arg(long, env = "NTC_JSON")]
    pub json: bool,
}

/// `ntc policy show`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ntc policy show RTP --confidence 0.4\n  \
    ntc policy show udp 192.168.1.20:40000 203.0.113.7:5060")]
pub struct PolicyShowArgs {
    /// A service by nDPI's name, or a flow: tcp or udp, and its two ends; without it the text of the policy is printed
    #[arg(value_name = "SERVICE | FLOW", num_args = 0..=3)]
    pub what: Vec<String>,
    /// Of this policy file; otherwise of the one that counts, or of the built-in one where no agent runs
    #[arg(long, env = "NTC_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Of an answer with this confidence, 0 to 1
    #[arg(long, env = "NTC_CONFIDENCE", value_name = "P", default_value_t = 1.0)]
    pub confidence: f32,
    /// Bits of skb->mark that are ntc's, for a policy file
    #[arg(long, env = "NTC_MARK_MASK", value_name = "MASK", default_value = "0x00ff0000", value_parser = mark_mask)]
    pub mark_mask: u32,
    /// One JSON object: class, what is done, because
    #[arg(long, env = "NTC_JSON")]
    pub json: bool,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc policy nft`
#[derive(Args, Debug)]
#[command(after_help = "Example: ntc policy nft | nft --file -; `nft delete table inet ntc` takes it away")]
pub struct PolicyNftArgs {
    /// Of this policy file; otherwise of the one that counts, or of the built-in one where no agent runs
    #[arg(long, env = "NTC_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Bits of skb->mark that are ntc's, for a policy file
    #[arg(long, env = "NTC_MARK_MASK", value_name = "MASK", default_value = "0x00ff0000", value_parser = mark_mask)]
    pub mark_mask: u32,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc policy apply`
#[derive(Args, Debug)]
pub struct PolicyApplyArgs {
    /// The policy file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc qdisc`
#[derive(Debug, Subcommand)]
pub enum QdiscAction {
    /// Show which queues would be set up; changes nothing
    Plan(QdiscArgs),
    /// Set them up: HTB with a class for each priority of the policy, at the root of the interface
    Apply {
        /// Which ones.
        #[command(flatten)]
        queues: QdiscArgs,
        /// Take the place of a qdisc that somebody set up; `ntc qdisc remove` restores it
        #[arg(long, env = "NTC_REPLACE")]
        replace: bool,
    },
    /// Take ntc's queues away and restore what was there before
    Remove {
        /// The interface
        #[arg(long = "iface", env = "NTC_IFACE", value_name = "IF")]
        interface: String,
    },
}

/// `ntc qdisc plan` and `apply`
#[derive(Args, Debug)]
pub struct QdiscArgs {
    /// The interface where packets wait
    #[arg(long = "iface", env = "NTC_IFACE", value_name = "IF")]
    pub interface: String,
    /// What the line carries, a little less than the provider says, so that packets wait here: 20mbit
    #[arg(long, env = "NTC_RATE", value_name = "RATE")]
    pub rate: Rate,
    /// For this policy file; otherwise for the one that counts, or the built-in one where no agent runs
    #[arg(long, env = "NTC_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// CAKE (diffserv4), which sorts by the policy's code points, in place of HTB
    #[arg(long, env = "NTC_CAKE")]
    pub cake: bool,
    /// One JSON object
    #[arg(long, env = "NTC_JSON")]
    pub json: bool,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc top`
#[derive(Args, Debug)]
#[command(
    after_help = "Keys: 1 to 4 and Tab change what is shown, s the order, / the filter; ? tells all of them, q leaves.\n\
    It asks by the agent's Unix socket, so run it as root or as somebody whom the socket's mode lets in."
)]
pub struct TopArgs {
    /// The agent's socket; otherwise the one that belongs to the pin directory
    #[arg(long, env = "NTC_API_SOCKET", value_name = "FILE")]
    pub api_socket: Option<PathBuf>,
    /// Ask the agent every so many seconds
    #[arg(long, env = "NTC_INTERVAL", value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    #[command(flatten)]
    /// Where the agent's maps are pinned.
    pub pins: PinArgs,
}

/// `ntc doctor`
#[derive(Args, Debug)]
#[command(
    after_help = "Each check tells what it found, what that means for labels and enforcement, and what to do.\n\
    ok: as it should be. note: worth knowing. warn: ntc works, but labels or enforcement are worse than they could be.\n\
    fail: `ntc run` does not start, or labels do not count. Nothing is changed. Exit code: 0 without a fail, else 1.\n\
    Run it as the user who runs the agent; who else is on the hooks only root may see.\n\n\
    Example: ntc doctor --iface br0 --iface eth0"
)]
pub struct DoctorArgs {
    /// Interface to examine; may be repeated
    #[arg(long = "iface", env = "NTC_IFACE", value_name = "IF", value_delimiter = ',')]
    pub interfaces: Vec<String>,
    /// One JSON object: version, verdict, findings
    #[arg(long, env = "NTC_JSON")]
    pub json: bool,
    #[command(flatten)]
    /// Which model is examined.
    pub model: ModelArgs,
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc detach`
#[derive(Args, Debug)]
pub struct DetachArgs {
    #[command(flatten)]
    /// Where maps are pinned.
    pub pins: PinArgs,
}

/// `ntc generate`
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// Folder to write to: man/, completions/, ntc.toml, reference.md and openapi.json in it
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

fn file_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("{text:?} is no octal mode like 660"))
}

fn ring_bytes(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("{text:?} is no number of bytes"))?;
    if bytes >= 4096 && bytes.is_power_of_two() {
        Ok(bytes)
    } else {
        Err(format!("{bytes} is no power of two from 4096"))
    }
}

fn shape(text: &str) -> Result<(String, Rate), String> {
    let (interface, rate) = text.split_once('=').ok_or("give IF=RATE, as eth0=20mbit")?;
    Ok((interface.into(), rate.parse()?))
}

fn mark_mask(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mask = u32::from_str_radix(digits, 16).map_err(|_| format!("{text:?} is no hexadecimal mask"))?;
    // The class number (four bits) stands in the lowest bits of the mask.
    let low = mask >> mask.trailing_zeros().min(31);
    if low & 0xf == 0xf { Ok(mask) } else { Err("the mask needs at least four bits in a row".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn masks_have_room_for_the_class() {
        assert_eq!(mark_mask("0x00ff0000"), Ok(0x00ff_0000));
        assert!(mark_mask("0x7").is_err() && mark_mask("0").is_err() && mark_mask("x").is_err());
    }
}
