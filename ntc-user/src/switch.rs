//! Another model in a running agent, without a pause: [`Switch`] is the handle for whoever asks, [`Running`] the end
//! that answers.
//!
//! ```text
//! load, prove by the test vectors -> waiting -> taken up between two batches -> first batch answered
//!  (the asking thread)                           (the answering thread)          else the one before is back
//! ```
//! Questions wait in their queue as ever, so no flow is lost; each batch is answered by one model, and its labels
//! carry that model's epoch.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::{Family, MetricConstructor},
        histogram::{Histogram, exponential_buckets},
    },
};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::{
    batch::BATCH_FLOWS,
    classify::{Answer, Bundle, BundleError, Model, ModelError, Place, Store, manifest::Manifest},
    event::{Event, ModelEvent},
    features::FLOW_VALUES,
};

/// A model that was asked for and is not taken.
#[derive(Debug, Error)]
pub enum SwitchError {
    /// It cannot be loaded, or is not what its bundle says.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Nothing was loaded before this one.
    #[error("there is no model to go back to")]
    NoneBefore,
}

/// A model that answers, or has answered.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// In the labels that it gave.
    pub epoch: u32,
    /// `name version`.
    pub title: Arc<str>,
    /// SHA-256 of the graph, hexadecimal.
    pub sha256: String,
    /// What it is.
    pub manifest: Arc<Manifest>,
    /// Where its bundle is from.
    pub place: Place,
}

#[derive(Debug)]
struct State {
    /// All that answered since the start, the one that does now last.
    history: Vec<Loaded>,
    waiting: Option<(Model, Loaded)>,
}

/// Calls of the model by size.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Batch {
    /// Flows that each answered.
    batch: &'static str,
}

impl Batch {
    const fn of(flows: usize) -> Self {
        const { assert!(BATCH_FLOWS == 32, "the last name") };
        let batch = match flows {
            0..=1 => "1",
            2..=8 => "2-8",
            _ => "9-32",
        };
        Self { batch }
    }
}

/// Makes the histogram of calls of a size.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallTimes;

impl MetricConstructor<Histogram> for CallTimes {
    fn new_metric(&self) -> Histogram {
        // 20 us to 330 ms: a flow costs some 20 us in a full batch (docs/benchmarks.md), and a busy processor takes turns.
        Histogram::new(exponential_buckets(0.000_02, 2.0, 15))
    }
}

/// Seconds that calls of the model took.
pub type Times = Family<Batch, Histogram, CallTimes>;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    times: Times,
    /// There is one waiting: looked at before each batch.
    is_waiting: AtomicBool,
    /// One load at a time.
    loading: Mutex<()>,
    events: OnceLock<mpsc::WeakSender<Event>>,
    store: Store,
    onnxruntime: Option<PathBuf>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked under the lock left whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: &'static str, why: String) {
        let now = self.state().history.last().cloned();
        let Some(Loaded { epoch, title, .. }) = now else { return };
        if let Some(events) = self.events.get().and_then(mpsc::WeakSender::upgrade) {
            // Full: the log has it.
            let _ = events.try_send(Event::Model(ModelEvent { change, model: title, epoch, why }));
        }
    }
}

/// Asks a running agent for another model. Clones are of the same agent.
#[derive(Clone, Debug)]
pub struct Switch {
    shared: Arc<Shared>,
}

/// The answering thread's end: the model that answers now.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    model: Model,
    loaded: Loaded,
    /// Until the new one has answered.
    before: Option<(Model, Loaded)>,
}

/// A switch and its answering end, with the first model. Later ones are found in `store`.
pub fn pair(bundle: &Bundle, model: Model, store: Store, onnxruntime: Option<PathBuf>) -> (Switch, Running) {
    let loaded = loaded(bundle, 1);
    let state = State { history: vec![loaded.clone()], waiting: None };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        times: Times::new_with_constructor(CallTimes),
        is_waiting: AtomicBool::new(false),
        loading: Mutex::new(()),
        events: OnceLock::new(),
        store,
        onnxruntime,
    });
    (Switch { shared: Arc::clone(&shared) }, Running { shared, model, loaded, before: None })
}

fn loaded(bundle: &Bundle, epoch: u32) -> Loaded {
    let sha256 = bundle.manifest.digest.onnx_sha256.to_ascii_lowercase();
    let manifest = Arc::new(bundle.manifest.clone());
    Loaded { epoch, title: bundle.title().into(), sha256, manifest, place: bundle.place.clone() }
}

impl Switch {
    /// The model that answers now.
    pub fn current(&self) -> Option<Loaded> {
        self.shared.state().history.last().cloned()
    }

    /// How long calls of the model took since the start.
    pub fn times(&self) -> Times {
        self.shared.times.clone()
    }

    /// The model of an epoch, if it was loaded since the start.
    pub fn of_epoch(&self, epoch: u32) -> Option<Loaded> {
        self.shared.state().history.iter().find(|loaded| loaded.epoch == epoch).cloned()
    }

    /// Loads a bundle, lets it prove itself, and hands it to the answering thread: what is asked from then on is
    /// answered by it. `None` stands for the choice of `ntc model use`, or else the bundle in the binary. The model
    /// that runs goes on until then, and goes on for good where this fails.
    ///
    /// To be called where waiting does no harm, by a thread without privileges.
    ///
    /// # Errors
    /// Why the bundle is refused.
    pub fn load(&self, named: Option<&Path>) -> Result<Loaded, SwitchError> {
        self.take(|shared| Bundle::load(named, &shared.store))
    }

    fn take(
        &self,
        bundle: impl FnOnce(&Shared) -> Result<Bundle, BundleError>,
    ) -> Result<Loaded, SwitchError> {
        let _one_at_a_time = self.shared.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let proved = bundle(&self.shared).map_err(ModelError::from).and_then(|bundle| {
            let model = Model::new(&bundle, self.shared.onnxruntime.as_deref())?;
            Ok((model, bundle))
        });
        let outcome = proved.map_err(SwitchError::from).map(|(model, bundle)| {
            let loaded = {
                let mut state = self.shared.state();
                let epoch = state.history.iter().map(|loaded| loaded.epoch).max().unwrap_or(0) + 1;
                let loaded = loaded(&bundle, epoch);
                state.history.push(loaded.clone());
                // One that still waited has answered nothing.
                if let Some((_, never)) = state.waiting.replace((model, loaded.clone())) {
                    state.history.retain(|known| known.epoch != never.epoch);
                }
                loaded
            };
            self.shared.is_waiting.store(true, Ordering::Release);
            loaded
        });
        match &outcome {
            Ok(loaded) => {
                tracing::info!(model = %loaded.title, epoch = loaded.epoch, "answers from now on");
                self.shared.tell("loaded", format!("SHA-256 {}", loaded.sha256));
            }
            Err(error) => {
                tracing::error!(%error, "the model that runs goes on");
                self.shared.tell("refused", error.to_string());
            }
        }
        outcome
    }

    /// Loads the bundle that answered before the present one.
    ///
    /// # Errors
    /// There was none, or it is refused now.
    pub fn back(&self) -> Result<Loaded, SwitchError> {
        let before = {
            let state = self.shared.state();
            state.history.iter().rev().nth(1).cloned().ok_or(SwitchError::NoneBefore)?
        };
        self.take(|_| Bundle::at(&before.place))
    }
}

impl Running {
    /// From here on events are told, and epochs go on behind `latest`, the greatest of labels that are there.
    pub fn begin(&mut self, latest: u32, events: &mpsc::Sender<Event>) {
        let _ = self.shared.events.set(events.downgrade());
        let mut state = self.shared.state();
        state.history.iter_mut().for_each(|loaded| loaded.epoch += latest);
        if let Some((_, waiting)) = &mut state.waiting {
            waiting.epoch += latest;
        }
        self.loaded.epoch += latest;
    }

    /// The model that answers.
    pub const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Answers a batch, by a new model if one waits. Where its first batch fails, the one before answers it and goes on.
    ///
    /// # Errors
    /// What ONNX Runtime said; nothing is appended then.
    pub fn classify(&mut self, features: &[f32], answers: &mut Vec<Answer>) -> Result<(), ModelError> {
        if self.shared.is_waiting.swap(false, Ordering::Acquire) {
            // Bound first: the lock is not held while a model is dropped.
            let waiting = self.shared.state().waiting.take();
            if let Some((model, loaded)) = waiting {
                let model = std::mem::replace(&mut self.model, model);
                self.before = Some((model, std::mem::replace(&mut self.loaded, loaded)));
            }
        }
        let Err(error) = self.call(features, answers) else {
            self.before = None;
            return Ok(());
        };
        let Some((model, loaded)) = self.before.take() else { return Err(error) };
        tracing::error!(%error, model = %self.loaded.title, "its first batch failed: the model before is back");
        let failed = std::mem::replace(&mut self.loaded, loaded);
        self.model = model;
        self.shared.state().history.retain(|known| known.epoch != failed.epoch);
        self.shared.tell("rolled back", error.to_string());
        self.call(features, answers)
    }

    fn call(&mut self, features: &[f32], answers: &mut Vec<Answer>) -> Result<(), ModelError> {
        let start = Instant::now();
        let outcome = self.model.classify(features, answers);
        if outcome.is_ok() {
            let batch = Batch::of(features.len() / FLOW_VALUES);
            self.shared.times.get_or_create(&batch).observe(start.elapsed().as_secs_f64());
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> (Bundle, Model) {
        let bundle = Bundle::shipped().expect("whole");
        let model =
            Model::new(&bundle, None).expect("it loads; ORT_DYLIB_PATH is set by cargo's configuration");
        (bundle, model)
    }

    fn answers(running: &mut Running) -> Result<usize, ModelError> {
        let mut answers = Vec::new();
        running.classify(&[0.0; 2 * FLOW_VALUES], &mut answers)?;
        Ok(answers.len())
    }

    #[test]
    fn a_new_model_answers_the_next_batch_under_its_own_epoch() {
        let (bundle, model) = shipped();
        let folder = tempfile::tempdir().expect("a folder");
        let (switch, mut running) = pair(&bundle, model, Store::new(Some(folder.path())), None);
        let (sender, mut events) = mpsc::channel(8);
        running.begin(6, &sender);
        assert_eq!(switch.current().map(|loaded| loaded.epoch), Some(7));
        assert!(matches!(switch.back(), Err(SwitchError::NoneBefore)));
        assert!(switch.load(Some(Path::new("nonsense"))).is_err());
        assert_eq!(switch.load(None).expect("the built-in one").epoch, 8);
        assert_eq!(running.loaded().epoch, 7, "until there is something to answer");
        assert_eq!(answers(&mut running).expect("answers"), 2);
        assert_eq!(running.loaded().epoch, 8);
        assert_eq!(switch.back().expect("the one before").epoch, 9);
        assert_eq!(switch.of_epoch(7).map(|loaded| loaded.place), Some(Place::BuiltIn));
        drop(sender);
        let mut told = Vec::new();
        while let Ok(Event::Model(event)) = events.try_recv() {
            told.push((event.change, event.epoch));
        }
        assert_eq!(told, [("refused", 7), ("loaded", 8), ("loaded", 9)]);
    }

    #[test]
    fn where_its_first_batch_fails_the_model_before_answers_it() {
        let (bundle, model) = shipped();
        let folder = tempfile::tempdir().expect("a folder");
        let (switch, mut running) = pair(&bundle, model, Store::new(Some(folder.path())), None);
        switch.load(None).expect("the built-in one");
        if let Some((model, _)) = &mut switch.shared.state().waiting {
            model.spoil();
        }
        assert_eq!(answers(&mut running).expect("no batch is lost"), 2);
        assert_eq!((running.loaded().epoch, switch.current().map(|loaded| loaded.epoch)), (1, Some(1)));
        // Later failures are those of the model that runs: there is none to go back to.
        running.model.spoil();
        assert!(answers(&mut running).is_err());
    }
}
