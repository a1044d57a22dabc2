//! What a model answers in a second, and how much of that time is ONNX Runtime's.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use ntc_common::limits::SEQUENCE_LENGTH;
use ntc_user::{
    classify::{Bundle, Model, library},
    clock::thread_time,
    features::{FEATURES, FLOW_VALUES},
};
use ort::{session::Session, value::TensorRef};

use crate::{
    capture::Random,
    report::{Report, Row},
    rounds::{Spread, interleaved},
};

const BATCHES: [usize; 6] = [1, 8, 16, 32, 64, 128];
/// Flows of a row in one round.
const FLOWS: usize = 2048;

/// ONNX Runtime and nothing else, set up as ntc does it.
pub struct Bare {
    session: Session,
    input: String,
}

impl Bare {
    /// Of a bundle's folder, or of the bundle that ntc carries.
    ///
    /// # Errors
    /// No library, no bundle, or a graph that is refused.
    pub fn load(folder: Option<&Path>) -> Result<Self> {
        let bundle = folder.map_or_else(Bundle::shipped, Bundle::open)?;
        let refused = |error: String| anyhow!("ONNX Runtime: {error}");
        let session = Session::builder(library::environment(None)?)
            .map_err(|error| refused(error.to_string()))?
            .with_intra_threads(1)
            .map_err(|error| refused(error.to_string()))?
            .commit_from_memory(&bundle.onnx)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self { session, input: bundle.manifest.input.name })
    }

    /// One call; the answer is looked at by nobody.
    ///
    /// # Errors
    /// What ONNX Runtime said.
    pub fn run(&mut self, features: &[f32]) -> Result<()> {
        let shape = [features.len() / FLOW_VALUES, SEQUENCE_LENGTH, FEATURES.len()];
        let tensor = TensorRef::from_array_view((shape, features))?;
        black_box(self.session.run(ort::inputs![self.input.as_str() => tensor])?);
        Ok(())
    }
}

/// The rows of all models.
///
/// # Errors
/// A model that cannot be loaded or run.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = Report::new("inference", "flows/s on one thread");
    for folder in bundles()? {
        let mut model = Model::new(&Bundle::open(&folder)?, None)?;
        let mut bare = Bare::load(Some(&folder))?;
        let features = features();
        let mut answers = Vec::new();
        let mut latencies = vec![Vec::new(); 2 * BATCHES.len()];
        let mut cpu = latencies.clone();
        let spreads = interleaved(rounds, latencies.len(), |row| {
            let batch = BATCHES[row / 2];
            let (start, cpu_before) = (Instant::now(), thread_time());
            for values in features.chunks_exact(batch * FLOW_VALUES) {
                let call = Instant::now();
                if row % 2 == 0 {
                    answers.clear();
                    model.classify(black_box(values), &mut answers)?;
                } else {
                    bare.run(black_box(values))?;
                }
                latencies[row].push(call.elapsed().as_secs_f64() * 1e6);
            }
            cpu[row].push(FLOWS as f64 / (thread_time() - cpu_before).as_secs_f64());
            Ok(FLOWS as f64 / start.elapsed().as_secs_f64())
        })?;
        let cpu: Vec<f64> = cpu.into_iter().map(|rounds| Spread::of(rounds).median).collect();
        for ((row, spread), latencies) in spreads.iter().enumerate().zip(&mut latencies) {
            latencies.sort_by(f64::total_cmp);
            let percentile = |hundredth: usize| latencies[(latencies.len() - 1) * hundredth / 100];
            let who = if row % 2 == 0 { model.title() } else { "ONNX Runtime alone" };
            let mut out = Row::new(format!("batch {}: {who}", BATCHES[row / 2]), *spread)
                .with("p50 us", percentile(50))
                .with("p99 us", percentile(99))
                .with("flows/s of CPU", cpu[row]);
            if row % 2 == 0 {
                out = out.with("of bare", spread.median / spreads[row + 1].median);
                out = out.with("of bare, CPU", cpu[row] / cpu[row + 1]);
            }
            report.rows.push(out);
        }
    }
    Ok(report)
}

/// Every folder under `models/` that is a bundle.
fn bundles() -> Result<Vec<PathBuf>> {
    let models = ntc_tests::root().join("models");
    let mut found: Vec<PathBuf> = fs::read_dir(&models)
        .with_context(|| models.display().to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("model.toml").is_file())
        .collect();
    found.sort();
    Ok(found)
}

/// Flows such as there are: half of them are shorter than a sequence, whose rest is 0.
fn features() -> Vec<f32> {
    let mut random = Random::new();
    let mut values = vec![0.0; FLOWS * FLOW_VALUES];
    for (flow, rows) in values.chunks_exact_mut(FLOW_VALUES).enumerate() {
        let packets = if flow % 2 == 0 { SEQUENCE_LENGTH } else { 1 + random.below(19) as usize };
        let (client, server) = (1024.0 + random.below(64_000) as f32, random.below(1024) as f32);
        for row in rows.chunks_exact_mut(FEATURES.len()).take(packets) {
            let back = random.below(2) == 1;
            let (from, to) = if back { (server, client) } else { (client, server) };
            let (payload, window, gap) = (random.below(1448), random.below(1 << 16), random.below(100_000));
            row.copy_from_slice(&[
                from,
                to,
                payload as f32,
                window as f32,
                gap as f32,
                f32::from(u8::from(back)),
            ]);
        }
    }
    values
}
