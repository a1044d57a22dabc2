//! Another model under live load.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_tests::agent::{Agent, binary};
use ntc_user::{
    catalogue::Catalogue,
    classify::{Bundle, Selection},
    kernel::tables,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::link::{Link, text, with_runtime};

/// Ports of the flows are from here on.
const FIRST_PORT: u16 = 41_000;
const MOST_FLOWS: u16 = 20_000;
/// Between two flows.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_secs(60);
/// The labels of one bundle are the other's, shifted by so many outputs: what it says, the other does not.
const SHIFT: usize = 40;

/// A folder with a bundle whose answers are other ones, and one that is broken.
struct Bundles {
    folder: tempfile::TempDir,
}

impl Bundles {
    fn new() -> anyhow::Result<Self> {
        let bundles = Self { folder: tempfile::tempdir()? };
        // An agent may run as another user.
        fs::set_permissions(bundles.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        bundles.add("shifted", |_, manifest| {
            let output = manifest["output"].as_table_mut().context("no [output]")?;
            for list in ["labels", "ids", "protocols", "protocol_ids", "classes"] {
                output[list].as_array_mut().context(list)?.rotate_left(SHIFT);
            }
            Ok(())
        })?;
        bundles.add("broken", |onnx, _| {
            onnx.pop();
            Ok(())
        })?;
        Ok(bundles)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A copy of the shipped bundle, changed.
    fn add(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<u8>, &mut toml::Table) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let shipped = ntc_tests::root().join("models").join(Bundle::shipped()?.manifest.model.name);
        let (mut onnx, mut manifest) = (
            fs::read(shipped.join("model.onnx"))?,
            toml::from_str::<toml::Table>(&fs::read_to_string(shipped.join("model.toml"))?)?,
        );
        manifest["model"].as_table_mut().context("no [model]")?.insert("name".into(), name.into());
        change(&mut onnx, &mut manifest)?;
        let folder = self.path().join(name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("model.onnx"), onnx)?;
        fs::write(folder.join("model.toml"), toml::to_string(&manifest)?)?;
        fs::copy(shipped.join("vectors.json"), folder.join("vectors.json"))?;
        Ok(())
    }

    fn model(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(binary()?);
        command.arg("model").args(arguments).arg("--models").arg(self.path());
        Ok(with_runtime(&mut command).output()?)
    }

    /// `ntc model use` for the agent of these pins.
    fn choose(&self, pins: &Path, what: &str) -> anyhow::Result<Output> {
        let pins = pins.display().to_string();
        self.model(&["use", what, "--pin-dir", &pins])
    }
}

/// An agent of which every event is kept.
struct Watched {
    agent: Agent,
    events: Vec<Value>,
}

impl Watched {
    /// Up to the first event from now on that `wanted` picks.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let start = Instant::now();
        loop {
            let event = self.agent.event()?.context("the agent ended")?;
            self.events.push(event.clone());
            if wanted(&event) {
                return Ok(event);
            }
            // The agent speaks every second, so this is looked at.
            ensure!(start.elapsed() < LONGEST, "no such event; the last was {event}");
        }
    }

    fn until_model(&mut self, change: &str) -> anyhow::Result<Value> {
        self.until(|event| event["event"] == "model" && event["change"] == change)
    }

    fn until_label_of(&mut self, epoch: u32) -> anyhow::Result<Value> {
        self.until(|event| event["event"] == "label" && event["model_epoch"] == epoch)
    }
}

/// What was said under each epoch, `unknown` left out.
fn services(events: &[Value]) -> anyhow::Result<BTreeMap<u64, BTreeSet<String>>> {
    let mut said: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["event"] == "label") {
        let epoch = event["model_epoch"].as_u64().context("no epoch")?;
        let service = event["service"].as_str().context("no service")?;
        let named = said.entry(epoch).or_default();
        if service != "unknown" {
            named.insert(service.to_owned());
        }
    }
    Ok(said)
}

#[test]
fn a_model_is_changed_under_load_and_no_flow_is_lost_or_mislabelled() -> anyhow::Result<()> {
    let (link, bundles) = (Link::new("model")?, Bundles::new()?);
    let folder = bundles.path().display().to_string();
    let mut watched = Watched { agent: link.agent(&["--models", &folder])?, events: Vec::new() };
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) && sent < MOST_FLOWS {
                link.exchange(FIRST_PORT + sent)?;
                sent += 1;
                thread::sleep(PAUSE);
            }
            anyhow::Ok(sent)
        });
        let outcome = change(&link, &bundles, &mut watched);
        stop.store(true, Ordering::Relaxed);
        let sent = load.join().map_err(|_| anyhow::anyhow!("the load died"))?;
        outcome.and(sent)
    })?;
    let Watched { agent, mut events } = watched;
    let labels: Vec<_> = tables::labels(&link.pins.0)?.iter().filter_map(Result::ok).collect();
    events.extend(agent.stop()?);

    // No flow is lost.
    let summary = events.last().context("no summary")?;
    ensure!(summary["flows"] == sent && summary["labelled"] == sent, "{sent} sent: {summary}");
    ensure!(summary["failed"] == 0 && summary["events_lost"] == 0, "{summary}");
    ensure!(summary["ledger"]["dropped"] == 0 && summary["ledger"]["closes"] == true, "{summary}");
    let labelled: BTreeSet<u64> = events
        .iter()
        .filter(|event| event["event"] == "label")
        .filter_map(|event| event["src_port"].as_u64())
        .collect();
    ensure!(labelled.len() == usize::from(sent), "{} flows of {sent} were labelled", labelled.len());

    // None is mislabelled: each says which model spoke, and the two never say the same.
    let shipped = Bundle::shipped()?.title();
    let titles = [(1, shipped.as_str()), (2, "shifted 0.1.0"), (3, shipped.as_str())];
    let mut latest = 0;
    for event in events.iter().filter(|event| event["event"] == "label") {
        let epoch = event["model_epoch"].as_u64().context("no epoch")?;
        ensure!(epoch >= latest, "epoch {epoch} after {latest}");
        latest = epoch;
        ensure!(titles.iter().any(|(of, title)| epoch == *of && event["model"] == *title), "{event}");
    }
    let said = services(&events)?;
    ensure!(said.len() == 3 && said.values().all(|services| !services.is_empty()), "{said:?}");
    ensure!(said[&1].is_disjoint(&said[&2]) && said[&2].is_disjoint(&said[&3]), "{said:?}");
    ensure!(!labels.is_empty(), "no labels in the map");
    for (key, label) in labels {
        let (service, _) = Catalogue::shipped().names(label.service);
        let epoch = u64::from(label.model_epoch);
        ensure!(service == "unknown" || said[&epoch].contains(service), "{key:?}: {service}, epoch {epoch}");
    }
    Ok(())
}

/// To another model and back, then to one that is broken.
fn change(link: &Link, bundles: &Bundles, watched: &mut Watched) -> anyhow::Result<()> {
    let pins = &link.pins.0;
    watched.until_label_of(1)?;
    let output = bundles.choose(pins, "shifted")?;
    ensure!(output.status.success() && text(&output).contains("was told"), "{}", text(&output));
    let event = watched.until_model("loaded")?;
    ensure!(event["epoch"] == 2 && event["model"] == "shifted 0.1.0", "{event}");
    watched.until_label_of(2)?;

    let output = bundles.choose(pins, "--previous")?;
    ensure!(output.status.success(), "{}", text(&output));
    let event = watched.until_model("loaded")?;
    ensure!(event["epoch"] == 3, "{event}");
    watched.until_label_of(3)?;

    let output = bundles.choose(pins, "broken")?;
    ensure!(output.status.code() == Some(1), "{}", text(&output));
    ensure!(text(&output).contains("model.onnx has SHA-256"), "{}", text(&output));
    // The agent looks for itself, too.
    Selection { model: Some("broken".into()), previous: None }.write(bundles.path())?;
    watched.agent.signal(Signal::HUP)?;
    let event = watched.until_model("refused")?;
    let why = event["why"].as_str().context("no reason")?;
    ensure!(event["epoch"] == 3 && why.contains("model.onnx has SHA-256"), "{event}");
    watched.until_label_of(3)?;
    Ok(())
}

#[test]
fn the_choice_lasts_and_epochs_go_on() -> anyhow::Result<()> {
    let (link, bundles) = (Link::new("choice")?, Bundles::new()?);
    let output = bundles.choose(&link.pins.0, "shifted")?;
    ensure!(output.status.success() && text(&output).contains("no agent runs"), "{}", text(&output));
    let folder = bundles.path().display().to_string();
    let mut agent = link.agent(&["--models", &folder])?;
    ensure!(agent.ready["model"] == "shifted 0.1.0", "{}", agent.ready);
    // Not to its end, so that its label is still there when the next agent comes.
    link.first_packets(40_060, 5)?;
    let label = agent.until(crate::link::of_port(40_060))?;
    ensure!(label["model_epoch"] == 1, "{label}");
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    let mut agent = link.agent(&["--models", &folder, "--model", "shifted"])?;
    link.exchange(40_061)?;
    let label = agent.until(crate::link::of_port(40_061))?;
    ensure!(label["model_epoch"] == 2, "another agent's labels are another epoch's: {label}");
    agent.stop()?;
    Ok(())
}

#[test]
fn bundles_are_listed_shown_and_verified() -> anyhow::Result<()> {
    let bundles = Bundles::new()?;
    let list = bundles.model(&["list"])?;
    let said = text(&list);
    ensure!(list.status.success() && said.contains("* residual-prior") && said.contains("shifted"), "{said}");
    ensure!(said.lines().any(|line| line.starts_with("! ") && line.contains("SHA-256")), "{said}");
    let list = bundles.model(&["list", "--format", "json"])?;
    let lines: Vec<Value> =
        text(&list).lines().map(serde_json::from_str).collect::<Result<_, _>>().context(text(&list))?;
    ensure!(lines.len() == 3 && lines[0]["selected"] == true && lines[1]["error"].is_string(), "{lines:?}");

    let show = bundles.model(&["show", "shifted", "--format", "json"])?;
    let manifest: Value = serde_json::from_slice(&show.stdout).context(text(&show))?;
    ensure!(manifest["model"]["name"] == "shifted" && manifest["output"]["labels"][0] != "DNS", "{manifest}");
    let show = bundles.model(&["show"])?;
    ensure!(text(&show).contains("SHA-256 of graph") && text(&show).contains("built in"), "{}", text(&show));

    let verify = bundles.model(&["verify", "shifted"])?;
    ensure!(verify.status.success() && text(&verify).contains("test flows answered"), "{}", text(&verify));
    // The graph is another one than that of the vectors, and both have the digests that the manifest says.
    bundles.add("other-answers", |_, _| Ok(()))?;
    let folder = bundles.path().join("other-answers");
    let vectors = fs::read_to_string(folder.join("vectors.json"))?;
    let (before, after) = vectors.split_once("\"probabilities\": [\n  [").context("no probabilities")?;
    let changed =
        format!("{before}\"probabilities\": [\n  [0.5, {}", after.split_once(", ").context("one")?.1);
    replace(&folder, "vectors.json", &vectors, &changed)?;
    let verify = bundles.model(&["verify", "other-answers"])?;
    ensure!(verify.status.code() == Some(1), "{}", text(&verify));
    ensure!(text(&verify).contains("its answers to the bundle's test vectors"), "{}", text(&verify));
    for name in ["broken", "nonsense", "/nonexistent"] {
        let verify = bundles.model(&["verify", name])?;
        ensure!(
            verify.status.code() == Some(1) && text(&verify).contains("model bundle: "),
            "{}",
            text(&verify)
        );
    }
    Ok(())
}

/// Writes a file of a bundle anew, and its digest into the manifest.
fn replace(folder: &Path, file: &str, before: &str, after: &str) -> anyhow::Result<()> {
    let digest = |text: &str| -> anyhow::Result<String> {
        let path: PathBuf = folder.join(file);
        fs::write(&path, text)?;
        let output = Command::new("sha256sum").arg(&path).output()?;
        Ok(text_of(&output).split_whitespace().next().context("no digest")?.to_owned())
    };
    let (before, after) = (digest(before)?, digest(after)?);
    let manifest = folder.join("model.toml");
    let text = fs::read_to_string(&manifest)?;
    ensure!(text.contains(&before), "the manifest has not the digest of {file}");
    fs::write(manifest, text.replace(&before, &after))?;
    Ok(())
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Classes for all that the model knows and for the rest, none of which the built-in policy has.
const TRIED: &str = "[default]\nunlabelled = \"early\"\n[class.known]\nservices = [\"*\"]\nmin_confidence = 0\n[class.early]\n";

#[test]
fn a_shadow_answers_beside_the_model_and_no_label_is_its() -> anyhow::Result<()> {
    let (link, bundles) = (Link::new("shadow")?, Bundles::new()?);
    let tried = bundles.path().join("tried.toml");
    fs::write(&tried, TRIED)?;
    fs::set_permissions(&tried, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let (folder, tried) = (bundles.path().display().to_string(), tried.display().to_string());
    let arguments = ["--models", &folder, "--shadow-model", "shifted", "--shadow-policy", &tried];
    let mut watched = Watched { agent: link.agent(&arguments)?, events: Vec::new() };
    for port in FIRST_PORT..FIRST_PORT + 3 {
        // Open: their labels stay.
        link.first_packets(port, 5)?;
        watched.until(|event| event["event"] == "label" && event["src_port"] == port)?;
    }
    let shadow = |event: &Value, would: &str| {
        let counts = event["shadow"].as_array().into_iter().flatten();
        counts
            .filter(|count| count["would"] == would)
            .filter_map(|count| count["packets"].as_u64())
            .sum::<u64>()
    };
    // Once the shadow has spoken of a flow, the flow's packets have the class of what is known.
    let told = watched.until(|event| {
        let _ = link.first_packets(FIRST_PORT, 5);
        event["event"] == "stats" && shadow(event, "known") > 0
    })?;
    ensure!(
        told["shadow"].as_array().is_some_and(|counts| counts.iter().all(|count| count["class"] != "known"))
    );
    let labels = tables::labels(&link.pins.0)?;
    let mut compared = 0;
    for (key, other) in tables::labels_in(&link.pins.0, tables::SHADOW_LABELS)?.iter().filter_map(Result::ok)
    {
        let Ok(label) = labels.get(&key, 0) else { continue };
        ensure!(label.start_ns == other.start_ns, "{label:?} {other:?}");
        ensure!(label.service == 0 || label.service != other.service, "{label:?} {other:?}");
        compared += 1;
    }
    ensure!(compared > 0, "the shadow has no labels");
    let printed = text(&link.ntc(&["stats"])?);
    ensure!(printed.contains("-> known"), "{printed}");
    // Of another agent it is no longer told.
    watched.agent.stop()?;
    let agent = link.agent(&["--stay"])?;
    let printed = text(&link.ntc(&["stats"])?);
    ensure!(printed.contains("packets seen") && !printed.contains("shadow"), "{printed}");
    agent.stop()?;
    Ok(())
}
