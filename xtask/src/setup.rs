//! `setup`: puts in place what the other verbs need, and nothing that is there already.
//!
//! A thing to install is a [`Piece`]; a [`Scope`] is the list of pieces that one verb needs, so that
//! `cargo xtask run` does not install what only training needs.

mod apt;
mod cargo_tool;
mod debian_root;
mod guest;
mod node;
mod onnxruntime;
mod python;
mod rust_components;
mod unpacked;

use std::{
    collections::BTreeSet,
    env::consts::ARCH,
    fs::{self, File},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

pub use debian_root::debian_root;
pub use guest::{SERIES as GUEST_SERIES, kernel as guest_kernel, release as guest_release};
pub use node::SPEAKERS;
pub use onnxruntime::{OnnxRuntime, VERSION as ONNX_RUNTIME_VERSION};
pub use python::{GENERATING, LABELLING, TRAINING, requirements};
pub use unpacked::GUEST_TOOLS;

use crate::workspace;

/// What to install for: each verb asks for its own scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scope {
    /// The Rust components, LLVM and the linker of the BPF object
    Build,
    /// ONNX Runtime, and the tools that make hosts in network namespaces
    Run,
    /// What the tests use, those of the training package included
    Test,
    /// Chromium and Playwright, which drive the agent's page
    Page,
    /// qemu, and Debian's kernel to run in it
    Guest,
    /// cargo-deny
    Lint,
    /// PyTorch and the training package's other needs
    Train,
    /// nDPI, as nfstream brings it
    Label,
    /// Servers and clients of many protocols, from PyPI
    Generate,
    /// cargo-deb
    Dist,
    /// A fresh Debian to try the packages in
    Trial,
    /// A compiler for arm64, and an emulator to run what it makes
    Arm64,
    /// musl, which the small build brings along
    Small,
    /// mdBook
    Docs,
}

/// What to install.
#[derive(Args)]
pub struct Arguments {
    /// The verbs to install for
    #[arg(value_enum, default_values = ["build", "run", "test"])]
    scopes: Vec<Scope>,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    ensure(&arguments.scopes)?;
    if arguments.scopes.contains(&Scope::Test)
        && let Err(error) = ensure(&[Scope::Guest])
    {
        // The tests go without it, and say so.
        eprintln!("setup: the tests under Debian's kernel will be skipped: {error:#}");
    }
    Ok(())
}

/// One thing to put in place.
trait Piece {
    /// Its name and version.
    fn name(&self) -> String;
    /// What the project needs it for.
    fn why(&self) -> String;
    /// Whether it is there already, in the pinned version; cheap, for it is asked every time.
    fn is_there(&self) -> Result<bool>;
    /// Puts it in place. An installation that was cut off must not look like a finished one.
    fn install(&self) -> Result<()>;
}

/// This machine's target with musl as its C library.
pub fn musl() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

/// Puts in place all that the scopes need.
pub fn ensure(scopes: &[Scope]) -> Result<()> {
    let start = Instant::now();
    let pieces = pieces(scopes);
    // All in place is the common case, and needs no lock.
    if !missing(&pieces)?.is_empty() {
        let _lock = lock()?;
        // Asked again: another setup may have done it while this one waited.
        for piece in missing(&pieces)? {
            let start = Instant::now();
            eprintln!("setup: installing {}: {}", piece.name(), piece.why());
            piece.install().with_context(|| format!("setup could not install {}", piece.name()))?;
            ensure!(
                piece.is_there()?,
                "setup installed {} without an error, but does not find it",
                piece.name()
            );
            eprintln!("setup: installed {} ({:.1?})", piece.name(), start.elapsed());
        }
    }
    eprintln!("setup: all in place ({:.1?})", start.elapsed());
    Ok(())
}

/// The pieces of the scopes in the order of installation: packages first, since the others build with them.
fn pieces(scopes: &[Scope]) -> Vec<Box<dyn Piece>> {
    let scopes: BTreeSet<Scope> = scopes.iter().flat_map(|&scope| with_implied(scope)).collect();
    let has = |scope| scopes.contains(&scope);
    let mut pieces: Vec<Box<dyn Piece>> = vec![Box::new(rust_components::RustComponents)];
    pieces.push(Box::new(apt::Packages::of(&scopes)));
    if has(Scope::Build) {
        pieces.push(Box::new(cargo_tool::BPF_LINKER));
    }
    if has(Scope::Run) || has(Scope::Test) || has(Scope::Dist) {
        pieces.push(Box::new(OnnxRuntime::HERE));
    }
    if has(Scope::Page) {
        pieces.push(Box::new(node::PLAYWRIGHT));
    }
    if has(Scope::Guest) {
        pieces.push(Box::new(guest::Kernel));
        pieces.push(Box::new(GUEST_TOOLS));
    }
    if has(Scope::Test) {
        pieces.push(Box::new(unpacked::COLLECTORS));
        pieces.push(Box::new(python::ASKING));
    }
    if has(Scope::Test) || has(Scope::Guest) {
        pieces.push(Box::new(unpacked::SWITCH));
        pieces.push(Box::new(python::CONTROLLER));
    }
    if has(Scope::Lint) {
        pieces.push(Box::new(cargo_tool::CARGO_DENY));
    }
    if has(Scope::Docs) {
        pieces.push(Box::new(cargo_tool::MDBOOK));
    }
    if has(Scope::Dist) {
        pieces.push(Box::new(cargo_tool::CARGO_DEB));
    }
    if has(Scope::Arm64) {
        pieces.push(Box::new(rust_components::Standard { target: "aarch64-unknown-linux-gnu".to_owned() }));
        pieces.push(Box::new(OnnxRuntime::ARM64));
    }
    if has(Scope::Small) {
        pieces.push(Box::new(rust_components::Standard { target: musl() }));
    }
    if has(Scope::Trial) {
        pieces.push(Box::new(debian_root::DebianRoot));
    }
    if has(Scope::Train) {
        pieces.push(Box::new(TRAINING));
    }
    if has(Scope::Label) {
        pieces.push(Box::new(LABELLING));
    }
    if has(Scope::Generate) {
        pieces.push(Box::new(GENERATING));
        pieces.push(Box::new(SPEAKERS));
    }
    pieces
}

/// All but `build`, `train`, `label`, `page` and `docs` compile the agent; the tests include those of the training package and
/// of the page.
fn with_implied(scope: Scope) -> Vec<Scope> {
    match scope {
        Scope::Build | Scope::Train | Scope::Label | Scope::Page | Scope::Docs => vec![scope],
        Scope::Run | Scope::Lint | Scope::Dist => vec![Scope::Build, scope],
        Scope::Generate => vec![Scope::Build, Scope::Run, Scope::Label, scope],
        Scope::Guest => vec![Scope::Build, Scope::Run, scope],
        Scope::Test => vec![Scope::Build, Scope::Train, Scope::Label, Scope::Generate, Scope::Page, scope],
        Scope::Arm64 => vec![Scope::Build, Scope::Run, Scope::Dist, scope],
        Scope::Small => vec![Scope::Build, Scope::Run, scope],
        Scope::Trial => vec![Scope::Build, Scope::Run, Scope::Guest, Scope::Dist, scope],
    }
}

fn missing(pieces: &[Box<dyn Piece>]) -> Result<Vec<&dyn Piece>> {
    let mut missing = Vec::new();
    for piece in pieces {
        if !piece.is_there().with_context(|| format!("setup could not look for {}", piece.name()))? {
            missing.push(piece.as_ref());
        }
    }
    Ok(missing)
}

/// Held while installing, so that two setups of one work tree do not collide. The kernel drops it with the process.
fn lock() -> Result<File> {
    fs::create_dir_all(workspace::tools())?;
    let path = workspace::tools().join("setup.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("setup: another setup is at work here; waiting for it");
        file.lock()?;
    }
    Ok(file)
}
