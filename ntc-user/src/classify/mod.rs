//! From features to an answer.

pub mod bundle;
#[cfg(any(test, not(feature = "onnxruntime")))]
mod graph;
#[cfg(feature = "onnxruntime")]
pub mod library;
pub mod manifest;
pub mod model;
pub mod selection;
#[cfg(feature = "onnxruntime")]
mod session;
pub mod store;
pub mod vectors;
pub mod vocabulary;

pub use bundle::{Bundle, BundleError};
#[cfg(feature = "onnxruntime")]
pub use library::LibraryError;
pub use model::{Model, ModelError};
pub use selection::{Selection, SelectionError};
pub use store::{Place, Store};
pub use vocabulary::{Answer, Vocabulary};
